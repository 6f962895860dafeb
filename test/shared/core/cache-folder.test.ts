import { strict as assert } from 'node:assert';
import { homedir, platform } from 'node:os';
import { join, resolve } from 'node:path';
import { cacheFolder } from '../../../shared/core/cache-folder.node.ts';

describe('cacheFolder', () => {
  it('[CAF-1] is what TRIBUTARY_CACHE says, as an absolute path', () => {
    assert.equal(cacheFolder({ TRIBUTARY_CACHE: '/somewhere/else', XDG_CACHE_HOME: '/x' }), resolve('/somewhere/else'));
    assert.equal(cacheFolder({ TRIBUTARY_CACHE: 'near' }), resolve('near'));
  });

  it('[CAF-2] is a folder of its own in the cache of the user otherwise', function () {
    if (platform() !== 'linux') this.skip();
    assert.equal(cacheFolder({ XDG_CACHE_HOME: '/x' }), '/x/tributary');
    for (const nothing of [{}, { TRIBUTARY_CACHE: '', XDG_CACHE_HOME: '' }, { XDG_CACHE_HOME: 'relative' }])
      assert.equal(cacheFolder(nothing), join(homedir(), '.cache', 'tributary'));
  });
});
