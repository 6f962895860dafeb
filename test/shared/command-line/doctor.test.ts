import { strict as assert } from 'node:assert';
import {
  type Diagnosis,
  diagnose,
  diagnosisText,
  installLine,
  isSupported,
} from '../../../shared/command-line/doctor.node.ts';
import { useBackend } from '../../../shared/compute/backend.ts';
import { hubClientInstall } from '../../../shared/model/hub/client.node.ts';

describe('diagnose', () => {
  it('[DOC-1] probes what is installed, says why the rest does not work, and takes the first that does', async () => {
    const probed: string[] = [];
    const diagnosis = await diagnose(async (name) => {
      probed.push(name);
      if (name === 'wasm') throw new Error('no SIMD\nsecond line');
    });
    const find = (name: string) => diagnosis.backends.find((backend) => backend.name === name)!;
    assert.equal(find('wasm').reason, 'no SIMD');
    assert.equal(find('wasm').works, false);
    assert.deepEqual([find('cpu').found, find('cpu').works, find('cpu').reason], [true, true, null]);
    for (const { name, found, works, reason, install } of diagnosis.backends) {
      assert.equal(probed.includes(name), found, name);
      assert.equal(reason === null, works, name);
      assert.equal(install === null, found, name);
    }
    assert.equal(diagnosis.auto, diagnosis.backends.find(({ works }) => works)!.name);
    assert.equal(diagnosis.node.supported, true);
    assert.ok(diagnosis.cores >= 1 && diagnosis.memoryBytes > 0);
    assert.match(diagnosis.sqlite!, /^\d+\.\d+/);
    assert.equal(diagnosis.hubClient.install === null, diagnosis.hubClient.found);
  });

  it('[DOC-2] finds that WebAssembly and the plain back end compute here', async () => {
    const { backends } = await diagnose((name) => useBackend(name));
    assert.deepEqual(
      backends
        .filter(({ works }) => works)
        .map(({ name }) => name)
        .slice(-2),
      ['wasm', 'cpu'],
    );
  });
});

describe('diagnosisText', () => {
  const diagnosis: Diagnosis = {
    node: { version: '20.1.0', supported: false },
    cores: 2,
    memoryBytes: 8e9,
    sqlite: null,
    backends: [
      {
        name: 'node',
        package: '@tensorflow/tfjs-node',
        found: false,
        works: false,
        reason: 'not installed',
        install: installLine({ package: '@tensorflow/tfjs-node', version: '4.22.0', optional: true }),
      },
      { name: 'wasm', package: '@tensorflow/tfjs-backend-wasm', found: true, works: true, reason: null, install: null },
    ],
    auto: 'wasm',
    hubClient: { found: false, install: hubClientInstall },
  };

  it('[DOC-3] says what is missing and prints the exact line that installs it', () => {
    const text = diagnosisText(diagnosis);
    assert.match(text, /20\.1\.0 \(needs 22\.18 or later\)/);
    assert.match(text, /not in this Node/);
    assert.match(text, /node +no +no +not installed/);
    assert.match(text, /--backend auto takes wasm\./);
    assert.match(
      text,
      /To add node: npm install @tensorflow\/tfjs-node@\d+\.\d+\.\d+ && npm install-scripts approve @tensorflow\/tfjs-node && npm rebuild @tensorflow\/tfjs-node/,
    );
    assert.match(text, /To fetch bases named hf:owner\/name: npm install @huggingface\/hub@\d+\.\d+\.\d+$/);
    assert.match(diagnosisText({ ...diagnosis, auto: null }), /No back end works\./);
  });
});

describe('isSupported', () => {
  it('[DOC-4] begins with Node 22.18', () => {
    const supported = ['22.18.0', '22.20.1', '23.0.0', '24.1.0'];
    const refused = ['22.17.9', '20.19.0', '18.0.0', ''];
    assert.deepEqual(
      [...supported, ...refused].filter((version) => isSupported(version)),
      supported,
    );
  });
});
