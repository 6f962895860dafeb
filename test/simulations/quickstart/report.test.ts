/** The report: one page that needs nothing beside itself, with everything that the run found. */
import { strict as assert } from 'node:assert';
import { reportPage } from '../../../simulations/quickstart/report.ts';
import { fixtureResult } from './fixture.ts';

describe('reportPage', () => {
  it('[REP-1] loads nothing and runs nothing', () => {
    const page = reportPage(fixtureResult());
    assert.doesNotMatch(page, /<script|<link|<img|src=|href=|url\(|@import|https?:/);
    assert.match(page, /^<!doctype html>\n<html lang="en">/);
    assert.match(page, /name="viewport"/);
    assert.match(page, /prefers-color-scheme: dark/);
  });

  it('[REP-2] shows the scores of every contender and curves after every round', () => {
    const page = reportPage(fixtureResult());
    for (const score of ['81.3 %', '70.0 %', '50.0 %', '42.5 %', '90.0 %', '72.0 %', '61.0 %'])
      assert.ok(page.includes(score), score);
    assert.equal([...page.matchAll(/<svg/g)].length, 2);
    assert.match(page, /123 kB/);
    assert.doesNotMatch(page, /NaN|undefined|\[object/);
  });

  it('[REP-3] says that the coordinator could read every delta, and what was refused', () => {
    assert.match(reportPage(fixtureResult()), /Secure aggregation is off.*could read every single delta/);
    assert.match(reportPage(fixtureResult()), /No message was refused/);
    const page = reportPage(fixtureResult({ problems: ['the coordinator refused a message (wrong-signature)'] }));
    assert.match(page, /wrong-signature/);
    assert.doesNotMatch(page, /No message was refused/);
  });

  it('[REP-4] text of the user cannot become mark-up', () => {
    const page = reportPage(fixtureResult());
    assert.ok(page.includes('a &lt;b&gt;') && !page.includes('a <b>'));
  });

  it('[REP-5] says so where no site held rows out', () => {
    assert.match(reportPage(fixtureResult({ curves: false })), /No site held rows out/);
  });
});
