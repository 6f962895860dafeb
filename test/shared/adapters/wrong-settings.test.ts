/** Every field of every method: a value that cannot be is refused with the field's name, what is allowed, and what was found. */
import { strict as assert } from 'node:assert';
import { checkSettings, methodNames, parseAdapter } from '../../../shared/adapters/registry.ts';
import { UsageError } from '../../../shared/core/errors.ts';
import type { Plan } from '../../../shared/plan/plan.ts';
import { bertLike } from './bases.ts';

const base = bertLike(2, 32, 64);
const members = ['a', 'b'].map((id) => ({ id, method: 'bottleneck', size: 4 }));
/** What a composition needs before anything else is looked at. */
const needed: Readonly<Record<string, object>> = {
  stack: { members },
  fuse: { members },
  average: { members },
  'batch-split': { members },
  parallel: { members },
  split: { members, at: [3] },
  gate: { members: members.slice(0, 1), penalty: 0.1 },
};

type Check = (configuration: Plan['adapter']) => unknown;

function refusalOf(configuration: Plan['adapter'], check: Check = (settings) => parseAdapter(settings, base)): string {
  try {
    check(configuration);
  } catch (thrown) {
    assert.ok(thrown instanceof UsageError && thrown.code === 'bad-adapter', String(thrown));
    return thrown.message;
  }
  assert.fail(`${JSON.stringify(configuration)} is accepted`);
}

/** The fields of a method, as it names them to whoever misspells one; none of a method without settings. */
function fieldsOf(method: string): readonly string[] {
  const refused = refusalOf({ method, ...needed[method], nonsense: 1 });
  const known = /nonsense is not a known field \(known here: ([^)]*)\)/.exec(refused)?.[1];
  assert.ok(known !== undefined, refused);
  return known === '' ? [] : known.split(', ');
}

describe('wrong settings of adapters', () => {
  for (const method of methodNames) {
    it(`[WRG-1] ${method}: an unknown field is named with those that there are, a wrong one with what is allowed`, () => {
      const fields = fieldsOf(method);
      const settled = Object.keys(parseAdapter({ method, ...needed[method] }, base).configuration);
      for (const field of settled)
        assert.ok(field === 'method' || fields.includes(field), `${field} is settled and not known`);
      for (const field of fields) {
        for (const wrong of [{ nonsense: { deep: 1 } }, Number.NaN]) {
          const refused = refusalOf({ method, ...needed[method], [field]: wrong });
          const line = refused.split('\n').find((one) => one.startsWith(`adapter ${method}: ${field}`));
          assert.ok(line !== undefined, `${method}.${field}: ${refused}`);
          assert.match(line, /(must be .+, found .+|is not a known field)/, `${method}.${field}`);
        }
      }
    });

    it(`[WRG-5] ${method}: without a base the same is refused of names and values, and nothing that some base takes`, () => {
      checkSettings({ method, ...needed[method] });
      const all = ['nonsense', ...fieldsOf(method)];
      for (const field of all) {
        const wrong = { method, ...needed[method], [field]: { nonsense: { deep: 1 } } };
        assert.equal(refusalOf(wrong, checkSettings), refusalOf(wrong), field);
      }
      const stacked = (member: object) => ({ method: 'stack', members: [members[0], { id: 'b', method, ...member }] });
      checkSettings(stacked({ ...needed[method] }));
      const nested = stacked({ ...needed[method], nonsense: 1 });
      assert.match(
        refusalOf(nested, checkSettings),
        /^adapter stack: members\[1\]: adapter .*nonsense is not a known field/,
      );
    });
  }

  it('[WRG-6] without a base an unknown method is refused, that of a member of a member too, and what needs a base is let through', () => {
    const deep = {
      method: 'stack',
      members: [members[0], { id: 'b', method: 'stack', members: [{ id: 'c', method: 'lorra' }] }],
    };
    assert.match(refusalOf(deep, checkSettings), /members\[1\]: adapter stack: members\[0\]: .*did you mean lora\?/);
    assert.match(refusalOf({ method: 'lorra' }, checkSettings), /did you mean lora\?/);
    assert.match(refusalOf({ method: 'split', members, at: [9, 3] }, checkSettings), /^adapter split: at must be/);
    checkSettings({ method: 'bottleneck', layers: [9999] });
    checkSettings({ method: 'lora', targets: ['qkv'] });
  });

  /** Fields that take any number there is. */
  const unbounded: ReadonlySet<string> = new Set(['bottleneck.scaling', 'vera.dInitial']);
  const scalars = [-1, 1e12, 'nonsense', true, [], ['nonsense'], [-1], { nonsense: 1 }];

  for (const method of methodNames) {
    it(`[WRG-3] ${method}: of every field each value that it does not take is refused with the field, what it takes, and what was found`, () => {
      const settings = (field: string, value: unknown) => ({ method, ...needed[method], [field]: value });
      const isTaken = (field: string, value: unknown): boolean => {
        try {
          return parseAdapter(settings(field, value), base).method === method;
        } catch {
          return false;
        }
      };
      for (const field of fieldsOf(method))
        for (const value of scalars) if (isTaken(field, value)) checkSettings(settings(field, value));
      for (const field of fieldsOf(method)) {
        const refused = scalars.filter((value) => !isTaken(field, value));
        for (const value of refused) {
          const lines = refusalOf(settings(field, value)).split('\n');
          const line = lines.find((one) => one.startsWith(`adapter ${method}: ${field}`)) ?? '';
          assert.match(
            line,
            /^[^:]+: \S+ must \S.*[^ ], found \S/,
            `${method}.${field} = ${JSON.stringify(value)}: ${lines.join('; ')}`,
          );
        }
        const isNumber = [0.25, 0.5, 1, 2].some((value) => isTaken(field, value));
        assert.ok(refused.length >= 5, `${method}.${field} refuses ${JSON.stringify(refused)}`);
        if (!isNumber || unbounded.has(`${method}.${field}`)) continue;
        const below = refusalOf(settings(field, -1));
        assert.match(below, /must be a (whole )?number (from|above|at least) .*, found -1/, `${method}.${field}`);
      }
    });
  }

  it('[WRG-2] a wrong field of a member names the member, at any depth', () => {
    const inner = { id: 'inner', method: 'stack', members: [{ id: 'deep', method: 'lora', rank: 0 }, members[0]!] };
    assert.match(
      refusalOf({ method: 'stack', members: [members[0]!, inner] }),
      /^adapter stack: members\[1\]: adapter stack: members\[0\]: adapter lora: rank must be a whole number from 1 to \d+, found 0$/m,
    );
  });
});
