/** Files of other libraries with something wrong anywhere: they are read, or refused with a reason; nothing else happens. */
import { strict as assert } from 'node:assert';
import { createAdapterDocument } from '../../../../shared/adapters/adapter-document.ts';
import { adapterHubFiles } from '../../../../shared/adapters/formats/adapterhub.ts';
import { exportFiles } from '../../../../shared/adapters/formats/export-files.ts';
import { importFiles } from '../../../../shared/adapters/formats/import-files.ts';
import { contentOfFiles, type OpenBase, openBase } from '../../../../shared/adapters/formats/open-base.ts';
import { peftFiles } from '../../../../shared/adapters/formats/peft.ts';
import { parseAdapter } from '../../../../shared/adapters/registry.ts';
import { utf8 } from '../../../../shared/core/bytes.ts';
import { FederationError } from '../../../../shared/core/errors.ts';
import { seededRandom } from '../../../../shared/core/random.ts';
import type { Plan } from '../../../../shared/plan/plan.ts';
import type { Task } from '../../../../shared/plan/task.ts';
import { taskLayout } from '../../../../shared/training/initial-adapter.ts';
import { fixture, parsed } from './fixtures.ts';

const strange: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  1e300,
  '',
  'x',
  '(',
  [],
  [null],
  ['x'],
  [0],
  {},
  { x: 1 },
  { default: 0 },
];

describe('hostile adapter files', () => {
  let base: OpenBase;
  before(() => {
    const files = ['config.json', 'model.safetensors'].map((file) => [file, fixture('bert', file)] as const);
    base = openBase(contentOfFiles(new Map(files)));
  });

  const task: Task = { kind: 'classification', labels: ['a', 'b'], pooling: 'first', lengthMax: 8 };
  const filesOf = (format: 'peft' | 'adapterhub', adapter: Plan['adapter']): Map<string, Uint8Array> => {
    const bound = parseAdapter(adapter, base.description);
    const layout = taskLayout(bound, base.description, task);
    const parameters = new Float32Array(layout.dim).fill(0.5);
    const document = createAdapterDocument({
      base: base.description,
      adapter: bound.configuration,
      task,
      layout,
      parameters,
    });
    return new Map(exportFiles({ document, base, format, name: 'a', baseName: '' }).files);
  };
  /** Reads files; anything but a reason is a fault. */
  const outcome = (files: ReadonlyMap<string, Uint8Array>, what: string): 'read' | 'refused' => {
    try {
      importFiles(files, base);
      return 'read';
    } catch (thrown) {
      assert.ok(
        thrown instanceof FederationError,
        `${what}: ${String(thrown instanceof Error ? thrown.stack : thrown)}`,
      );
      return 'refused';
    }
  };

  const cases: readonly ['peft' | 'adapterhub', Plan['adapter']][] = [
    ['peft', { method: 'lora', rank: 2 }],
    ['peft', { method: 'vera', rank: 2, projections: 'stored' }],
    ['peft', { method: 'ia3' }],
    ['adapterhub', { method: 'bottleneck', size: 4 }],
    ['adapterhub', { method: 'lora', targets: ['q', 'v'], rank: 2 }],
    ['adapterhub', { method: 'prefix', length: 2 }],
  ];
  for (const [format, adapter] of cases) {
    it(`[HOS-1:${format}/${adapter.method}] every field with every strange value, and without it`, () => {
      const whole = filesOf(format, adapter);
      whole.delete('tributary.json');
      const counts = { read: 0, refused: 0 };
      const jsonFiles = [...whole.keys()].filter((name) => name.endsWith('.json'));
      for (const file of jsonFiles) {
        const document = parsed(whole.get(file)!);
        const inner = 'config' in document ? (document.config as Record<string, unknown>) : {};
        const places: readonly (readonly [Record<string, unknown>, (changed: Record<string, unknown>) => unknown])[] = [
          [document, (changed) => changed],
          [inner, (changed) => ({ ...document, config: changed })],
        ];
        for (const [place, around] of places) {
          for (const field of Object.keys(place)) {
            const { [field]: _, ...without } = place;
            for (const value of [...strange, undefined]) {
              const changed = around(value === undefined ? without : { ...place, [field]: value });
              const files = new Map([...whole, [file, utf8(JSON.stringify(changed))]]);
              counts[outcome(files, `${file}: ${field} ${JSON.stringify(value)}`)]++;
            }
          }
        }
      }
      assert.ok(counts.read > 50 && counts.refused > 50, JSON.stringify(counts));
    });
  }

  it('[HOS-2] tensors with a byte changed anywhere in their header, or cut', () => {
    for (const [format, name] of [
      ['peft', peftFiles.tensors],
      ['adapterhub', adapterHubFiles.headTensors],
    ] as const) {
      const whole = filesOf(
        format,
        format === 'peft' ? { method: 'lora', rank: 2 } : { method: 'bottleneck', size: 4 },
      );
      const bytes = whole.get(name)!;
      const headerLength = 8 + Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
      const random = seededRandom(1, name);
      for (let attempt = 0; attempt < 400; attempt++) {
        const changed = bytes.slice(0, attempt % 4 === 0 ? random.integer(bytes.length) : bytes.length);
        if (changed.length > 0) changed[random.integer(Math.min(headerLength, changed.length))] = random.integer(256);
        outcome(new Map([...whole, [name, changed]]), `${name}, attempt ${attempt}`);
      }
    }
  });

  it('[HOS-3] a manifest of ours that is anything else', () => {
    const whole = filesOf('peft', { method: 'lora', rank: 2 });
    const manifest = parsed(whole.get('tributary.json')!);
    for (const field of Object.keys(manifest)) {
      for (const value of strange) {
        const files = new Map([...whole, ['tributary.json', utf8(JSON.stringify({ ...manifest, [field]: value }))]]);
        const found = outcome(files, `${field} ${JSON.stringify(value)}`);
        assert.equal(
          found,
          field === 'lineage' && value === null ? 'read' : 'refused',
          `${field} ${JSON.stringify(value)}`,
        );
      }
    }
  });
});
