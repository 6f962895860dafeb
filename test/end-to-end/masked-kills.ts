/**
 * A federation whose coordinator is killed once in every round, each time at another step, by real signals to a real process; the next one is
 * started on what it left. Clients run on, over real sockets, with their state on disk.
 */
import { strict as assert } from 'node:assert';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { nodePlatform } from '../../client/platform/node.node.ts';
import { openExistingState } from '../../coordinator/store/state.ts';
import { float32Of } from '../../shared/core/bytes.ts';
import type { Doom, Noted } from './doom.ts';
import { dim, openWorld, policyWith, type RunningClient } from './world.ts';

const clientCount = 3;
/** Mean of deltas 1, 2 and 3. */
const meanDelta = 2;

/** What was noted of one step in a round. */
const notedOf = (noted: readonly Noted[], roundIndex: number, step: Noted['step']): readonly Noted[] =>
  noted.filter((one) => one.roundIndex === roundIndex && one.step === step);
const digestsOf = (noted: readonly Noted[], clientId: string): ReadonlySet<string> =>
  new Set(noted.filter((one) => one.clientId === clientId).map(({ digest }) => digest));

/** Steps before which survivors are fixed: a coordinator that dies there begins another attempt. */
function beginsAnew({ step, count, moment }: Omit<Doom, 'roundIndex'>): boolean {
  if (step === 'masked') return count < clientCount || moment === 'before';
  return step === 'attempt' || step === 'advert' || step === 'shares';
}

/** Runs one round for every kill, in this order, and checks what came of each. */
export async function checkKills(kills: readonly Omit<Doom, 'roundIndex'>[]): Promise<void> {
  const world = await openWorld();
  const noteFile = join(world.folder, 'noted.jsonl');
  // Long enough that no deadline strikes: what ends a phase here is a message or a kill.
  const seconds = { recruitSeconds: 600, trainSeconds: 600, evaluateSeconds: 600 };
  const rounds = { count: kills.length, cohortSize: clientCount, quorum: clientCount, ...seconds };
  const clients: RunningClient[] = [];
  try {
    let port = 0;
    for (let start = 0; start <= kills.length; start++) {
      const kill = kills[start];
      const doom = kill === undefined ? null : { ...kill, roundIndex: start };
      const inviteCount = start === 0 ? clientCount : 0;
      const running = await world.spawnCoordinator({ rounds, port, inviteCount, masked: { noteFile, doom } });
      port = Number(new URL(running.url).port);
      for (const [index, invite] of running.invites.entries()) {
        const delta = (): Float32Array => new Float32Array(dim).fill(index + 1);
        const policy = policyWith({ organisationsMin: 1 });
        clients.push(await world.startClient(`site-${index}`, { delta }, { invite, policy }));
      }
      const end = running.events.wait('ended');
      if (doom === null) assert.equal((await end).status, 'completed');
      else await assert.rejects(end, /SIGKILL/, JSON.stringify(doom));
    }
    for (const { ended } of clients) assert.equal((await ended).kind, 'completed');
    await checkLeft(world.folder, noteFile, kills);
  } finally {
    await world.close();
  }
}

async function checkLeft(folder: string, noteFile: string, kills: readonly Omit<Doom, 'roundIndex'>[]): Promise<void> {
  const noted = readFileSync(noteFile, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Noted);
  const state = await openExistingState(join(folder, 'coordinator'));
  const versions = await state.store.versions();
  assert.equal(versions.length, kills.length + 1);
  for (const [version, { roundIndex, adapter }] of versions.entries()) {
    // Every round published once, under its number, with everybody in it once.
    assert.equal(roundIndex, version - 1);
    const values = float32Of(await state.blobs.get(adapter));
    const error = values.reduce((most, value) => Math.max(most, Math.abs(value - meanDelta * version)), 0);
    assert.ok(error < 1e-3, `version ${version} is off by ${error}`);
  }
  for (const { status } of await state.store.rounds()) assert.equal(status, 'published');
  await state.close();
  const clientIds = [...new Set(noted.filter(({ clientId }) => clientId !== '').map(({ clientId }) => clientId))];
  assert.equal(clientIds.length, clientCount);
  for (const [roundIndex, kill] of kills.entries()) {
    const where = `round ${roundIndex}, killed ${kill.moment} ${kill.step} ${kill.count}`;
    const attempts = new Set(notedOf(noted, roundIndex, 'attempt').map(({ digest }) => digest)).size;
    assert.equal(attempts, beginsAnew(kill) ? 2 : 1, where);
    assert.equal(new Set(notedOf(noted, roundIndex, 'publish').map(({ digest }) => digest)).size, 1, where);
    for (const clientId of clientIds) {
      // One answer with shares whatever happened, and keys of its own for every attempt that heard of them.
      assert.ok(digestsOf(notedOf(noted, roundIndex, 'unmask'), clientId).size === 1, where);
      assert.ok(digestsOf(notedOf(noted, roundIndex, 'advert'), clientId).size <= attempts, where);
    }
    if (kill.step === 'shares' || kill.step === 'masked')
      for (const clientId of clientIds)
        assert.equal(digestsOf(notedOf(noted, roundIndex, 'advert'), clientId).size, attempts, `${where}: new keys`);
  }
  for (let index = 0; index < clientCount; index++) {
    const { contributions } = await (await nodePlatform(join(folder, `site-${index}`))).journal.read();
    assert.deepEqual(
      Object.values(contributions).map(({ roundIndex }) => roundIndex),
      [kills.length - 1],
    );
  }
}
