import { strict as assert } from 'node:assert';
import { robustRuleNames } from '../../../shared/update/robust-rules.ts';
import { attacks, replacement } from '../../../simulations/attacks/attacks.ts';
import { parseAttackOptions } from '../../../simulations/attacks/table.ts';
import { type AttackResult, attackKey, tableCells, tuneCells } from '../../../simulations/attacks/table-cells.ts';
import { attackMarkdown, tuneText } from '../../../simulations/attacks/table-report.ts';
import { intentsOf } from '../../../simulations/attacks/table-rows.ts';
import { sizes, tunedGrid } from '../../../simulations/attacks/table-settings.ts';

const cells = tableCells([1, 2], sizes.rounds);
/** Every defence learns 60 %, and the mean falls to 10 % under everything. */
const results = cells.map((cell): AttackResult => {
  const accuracy = cell.method === 'none' && cell.attack !== 'none' ? 0.1 : 0.6 + cell.seed / 100;
  return { cell, accuracy, backdoor: cell.attack.startsWith('backdoor') ? 0.9 : 0.02, voidRounds: 0, seconds: 1 };
});

describe('table of attacks', () => {
  it('[ATT-1] has every rule and the gate under every attack of the suite and both backdoors, no cell twice', () => {
    const defences = robustRuleNames.length + 1;
    assert.equal(cells.length, 2 * defences * (Object.keys(attacks).length + 3));
    assert.equal(new Set(cells.map(attackKey)).size, cells.length);
    assert.ok(cells.every(({ split, settings }) => split === 'test' && settings.passedOver > 0));
  });

  it('[ATT-2] settings are chosen on validation rows with a seed that the table has not', () => {
    const tried = tuneCells(0.01);
    assert.ok(tried.every(({ split, seed }) => split === 'validation' && seed === 0));
    const rates = tried.filter(({ method }) => method === 'none').map(({ settings }) => settings.learningRate);
    assert.deepEqual(rates, [...tunedGrid.learningRates]);
    const shown = tried.map((cell): AttackResult => ({ cell, accuracy: 0.5, backdoor: 0, voidRounds: 0, seconds: 1 }));
    assert.match(tuneText(shown), /norm-clip under sign-flip-10, learning rate 0.01, norm 2: 50.0 %/);
  });

  it('[ATT-5] every seed has intents of its own, and none of them is out of scope', () => {
    const labels = Array.from({ length: 151 }, (_, index) => (index === 85 ? 'oos' : `intent ${index}`));
    const found = [0, 1, 2, 3].map((seed) => intentsOf(labels, seed, sizes.labels));
    assert.ok(found.every((intents) => intents.length === sizes.labels && !intents.includes('oos')));
    assert.equal(new Set(found.flat()).size, 4 * sizes.labels);
  });

  it('[ATT-3] the report has all rows, also where a rule loses, and says how to repeat it', () => {
    const text = attackMarkdown(results, 'npm run attacks -- --seeds 2');
    assert.match(text, /\| none \| 61\.5 ± 0\.7 \| 61\.5 ± 0\.7 /);
    assert.match(text, /\| ipm-10 \| 10\.0 ± 0\.0 \| 61\.5 ± 0\.7 /);
    assert.match(text, /- mean: loses more than 5 points under: sign-flip-1, .*backdoor-in-norm\./);
    assert.match(text, /- krum: loses more than 5 points under: nothing\./);
    assert.match(text, /Reproduce: `npm run attacks -- --seeds 2`/);
    assert.match(text, /\| attack \| mean \| .* \| gate \|\n/);
  });

  it('[ATT-4] reads its flags, and model replacement makes up for the mean', () => {
    const options = parseAttackOptions(['--data', 'rows', '--seeds', '3', '--report'], {});
    assert.deepEqual([options.data, options.seeds, options.rounds, options.report], ['rows', [1, 2, 3], 3, true]);
    assert.throws(() => parseAttackOptions(['--seeds', 'many'], {}), /--seeds: expected a whole number/);
    const sent = replacement([1, -2], { clientCount: 20, hostileCount: 4 });
    assert.deepEqual(
      [...sent].map((value) => (4 * value) / 20),
      [1, -2],
    );
  });
});
