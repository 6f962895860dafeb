import { strict as assert } from 'node:assert';
import {
  type Diagnosis,
  diagnose,
  diagnosisText,
  installLine,
  type ProbedBackend,
  probe,
} from '../../../shared/command-line/doctor.node.ts';
import { FederationError } from '../../../shared/core/errors.ts';
import { hubClientInstall } from '../../../shared/model/hub/client.node.ts';

const onProcessor: ProbedBackend = { device: null, isSoftware: false, memoryBytesMax: 2 ** 32, gflops: 1 };

describe('diagnose', () => {
  it('[DCR-1] probes what is installed, says why the rest does not work, and takes the first that does', async () => {
    const probed: string[] = [];
    const diagnosis = await diagnose(async (name) => {
      probed.push(name);
      if (name === 'wasm') throw new Error('no SIMD\nsecond line');
      return { ...onProcessor, isSoftware: name === 'webgpu' };
    });
    const find = (name: string) => diagnosis.backends.find((backend) => backend.name === name)!;
    assert.equal(find('wasm').reason, 'no SIMD');
    assert.equal(find('wasm').works, false);
    assert.deepEqual([find('cpu').found, find('cpu').works, find('cpu').reason], [true, true, null]);
    for (const { name, found, works, reason, install } of diagnosis.backends) {
      assert.equal(probed.includes(name), found, name);
      assert.equal(reason === null, works && name !== 'webgpu', name);
      assert.equal(install === null, found, name);
    }
    // What imitates a graphics card works, and is passed by.
    const first = diagnosis.backends.find(({ name, works }) => works && name !== 'webgpu')!;
    assert.equal(diagnosis.auto, first.name);
    if (find('webgpu').found) assert.match(find('webgpu').reason!, /^software in place of a graphics card/);
    assert.equal(diagnosis.node.supported, true);
    assert.ok(diagnosis.cores >= 1 && diagnosis.memoryBytes > 0);
    assert.match(diagnosis.sqlite!, /^\d+\.\d+/);
    assert.equal(diagnosis.hubClient.install === null, diagnosis.hubClient.found);
  });

  it('[DCR-2] finds that WebAssembly and the plain back end compute here', async () => {
    const { backends } = await diagnose(probe);
    for (const { name, works, probed } of backends) assert.equal((probed?.gflops ?? 0) > 0, works, name);
    assert.deepEqual(
      backends
        .filter(({ works }) => works)
        .map(({ name }) => name)
        .slice(-2),
      ['wasm', 'cpu'],
    );
  });
});

describe('a broken installation', () => {
  it('[DCR-5] of a package whose library is missing has the line that repairs it, and its own reason', async () => {
    const reason =
      'onnxruntime-node does not load: The Node.js native addon module (x.node) can not be found at path: /x.';
    const { backends } = await diagnose(async (name) => {
      if (name !== 'native') return onProcessor;
      throw new FederationError('backend-unavailable', 'asked for by name', { cause: new Error(`${reason}\nmore`) });
    });
    const native = backends.find(({ name }) => name === 'native')!;
    if (!native.found) return;
    assert.equal(native.reason, reason);
    assert.equal(native.install, 'npm install-scripts approve onnxruntime-node && npm rebuild onnxruntime-node');
  });

  it('[DCR-6] of any other kind is installed anew, and what the machine itself lacks is not', async () => {
    const linesFor = async (reason: string): Promise<readonly (string | null)[]> => {
      const { backends } = await diagnose(async () => {
        throw new Error(reason);
      });
      return backends.filter(({ name }) => name === 'wasm' || name === 'cpu').map(({ install }) => install);
    };
    const [wasm, cpu] = await linesFor("it does not load: Cannot find module 'long'");
    assert.match(wasm!, /^npm uninstall (@\S+-wasm) && npm install \1@\d+\.\d+\.\d+$/);
    assert.match(cpu!, /^npm uninstall (@\S+-cpu) && npm install \1@\d+\.\d+\.\d+$/);
    for (const reason of [
      'it does not load: libcudart.so.11.0: cannot open shared object file: No such file or directory',
      "it does not load: /lib/libc.so.6: version `GLIBC_2.38' not found",
      'this machine shows no graphics card',
    ])
      assert.deepEqual(await linesFor(reason), [null, null], reason);
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
        name: 'webgpu',
        packages: ['webgpu'],
        found: true,
        works: true,
        reason: null,
        install: null,
        probed: { device: 'nvidia H100', isSoftware: false, memoryBytesMax: 4e9, gflops: 9876.5 },
      },
      {
        name: 'node',
        packages: ['@tensorflow/tfjs-node'],
        found: false,
        works: false,
        reason: 'not installed',
        install: installLine('node'),
        probed: null,
      },
      {
        name: 'wasm',
        packages: ['@tensorflow/tfjs-backend-wasm'],
        found: true,
        works: true,
        reason: null,
        install: null,
        probed: { ...onProcessor, gflops: 1.25 },
      },
    ],
    auto: 'wasm',
    hubClient: { found: false, install: hubClientInstall },
  };

  it('[DCR-3] says what is missing and prints the exact line that installs it', () => {
    const text = diagnosisText(diagnosis);
    assert.match(text, /20\.1\.0 \(needs 22\.18 or later\)/);
    assert.match(text, /not in this Node/);
    assert.match(text, /^webgpu +yes +yes +9877 +4\.00 GB\/tensor +nvidia H100$/m);
    assert.match(text, /^node +no +no +not installed$/m);
    assert.match(text, /^wasm +yes +yes +1\.3 +4\.29 GB +processor$/m);
    assert.match(text, /--backend auto takes wasm\./);
    assert.match(
      text,
      /To add node: npm install @tensorflow\/tfjs-node@\d+\.\d+\.\d+ && npm install-scripts approve @tensorflow\/tfjs-node && npm rebuild @tensorflow\/tfjs-node/,
    );
    assert.match(text, /To fetch bases named hf:owner\/name: npm install @huggingface\/hub@\d+\.\d+\.\d+$/);
    assert.match(diagnosisText({ ...diagnosis, auto: null }), /No back end works\./);
  });
});
