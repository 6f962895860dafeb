import { strict as assert } from 'node:assert';
import { methodNames } from '../../../shared/adapters/registry.ts';
import { document, run } from './commands.ts';

describe('tributary adapters methods', () => {
  it('[MTH-1] lists every method on the base that ships, with what it trains there', async () => {
    const { code, value } = await document(['adapters', 'methods']);
    assert.equal(code, 0);
    const { methods, base } = value as {
      methods: { method: string; parameters: number }[];
      base: { parameterCount: number };
    };
    assert.deepEqual(
      methods.map(({ method }) => method),
      methodNames,
    );
    const trained = new Map(methods.map(({ method, parameters }) => [method, parameters]));
    assert.equal(trained.get('none'), 0);
    assert.equal(trained.get('full'), base.parameterCount);
    assert.ok(trained.get('lora')! > 0 && trained.get('lora')! < base.parameterCount / 10);
  });

  it('[MTH-2] prints a table', async () => {
    const { code, output } = await run(['adapters', 'methods']);
    assert.equal(code, 0);
    assert.match(output, /method +trains +where it sits +good for/);
    assert.match(output, /mixture +[\d,]+ +words › /);
  });
});
