/** Attacks of a coordinator on clients of a round with groups, each first shown to work where the check against it is left out. */
import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import { decodeCanonical } from '../../../shared/protocol/canonical.ts';
import { bitmapOf } from '../../../shared/secure-aggregation/bitmap.ts';
import type { GroupedClientEvent } from '../../../shared/secure-aggregation/grouped-client.ts';
import { agreeFormat, noGroup } from '../../../shared/secure-aggregation/messages.ts';
import { loadModule, type MutantName } from '../../simulation/mutants.ts';
import {
  type GroupedClientMachine,
  type GroupedCohortOptions,
  type GroupedCohortOutcome,
  productionMachine,
  runGroupedCohort,
} from './grouped-cohort.ts';

type Of<Type extends GroupedClientEvent['type']> = Extract<GroupedClientEvent, { readonly type: Type }>;

const base: GroupedCohortOptions = { clientCount: 15, grouping: { size: 5, clientCountMin: 3 } };
const sentBy = (outcome: GroupedCohortOutcome, type: string): number =>
  outcome.sent.filter((event) => event.type === type).length;

/** Whether clients go on where they must not: with the check left out they do, production's do not. */
async function showAttack(mutant: MutantName, succeeds: (machine: GroupedClientMachine) => boolean): Promise<void> {
  const broken = await loadModule<GroupedClientMachine>(mutant, 'shared/secure-aggregation/grouped-client.ts');
  assert.equal(succeeds(broken), true, `the attack works without the check (${mutant})`);
  assert.equal(succeeds(productionMachine), false, 'and does not work with it');
}

/** Changes one kind of message to clients. */
function bending<Type extends GroupedClientEvent['type']>(
  type: Type,
  change: (event: Of<Type>, index: number) => GroupedClientEvent | null,
): NonNullable<GroupedCohortOptions['bend']> {
  return (event, index) => (event.type === type ? change(event as Of<Type>, index) : event);
}

describe('malicious coordinator of a round with groups', () => {
  it('[GAT-1] aims the division by changing a nonce: nobody deals shares', async () => {
    const bend = bending('drawn', ({ drawn }) => ({
      type: 'drawn',
      drawn: { ...drawn, nonces: drawn.nonces.map((nonce, place) => (place === 2 ? new Uint8Array(32) : nonce)) },
    }));
    await showAttack('any-nonce', (machine) => sentBy(runGroupedCohort({ ...base, bend, machine }), 'shares') > 0);
    const cut = bending('drawn', ({ drawn }) => ({
      type: 'drawn',
      drawn: { ...drawn, nonces: drawn.nonces.slice(1) },
    }));
    assert.equal(sentBy(runGroupedCohort({ ...base, bend: cut }), 'shares'), 0);
  });

  it('[GAT-2] split-view-survivors: tells a group of other survivors than the roster consents to', async () => {
    /** Each client sees the survivors of its group without the last of them, under the hash of all of them. */
    const bend = bending('outcome', ({ outcome }) => {
      const { own } = outcome;
      if (own === null) return { type: 'outcome', outcome };
      const size = 5;
      const survivors = { ...own, survivors: bitmapOf([0, 1, 2, 3], size) };
      return { type: 'outcome', outcome: { ...outcome, own: survivors } };
    });
    await showAttack('any-outcome', (machine) => sentBy(runGroupedCohort({ ...base, bend, machine }), 'agree') > 0);
  });

  it('[GAT-3] a whole group that colludes is no quorum: consents are of two thirds of the roster', async () => {
    /** Leaves two groups out for the third, and shows it the consents of its own members alone. */
    const journalled = (machine: GroupedClientMachine): number => {
      let hashes: readonly Digest[] = [];
      const alone = (event: GroupedClientEvent): GroupedClientEvent => {
        if (event.type !== 'outcome' || event.outcome.own === null) return event;
        const own = event.outcome.groups.map((hash, group) => (group === 0 ? hash : noGroup));
        hashes = event.outcome.groups;
        return { type: 'outcome', outcome: { ...event.outcome, groups: own } };
      };
      const outcome = runGroupedCohort({ ...base, machine, bend: alone });
      assert.equal(hashes.length, 3);
      const consents = outcome.sent.flatMap((event) => {
        if (event.type !== 'agree') return [];
        const body = decodeCanonical(agreeFormat, event.body, 'M4');
        return body.ok ? [{ ...body.value, signature: event.signature }] : [];
      });
      let count = 0;
      for (const state of outcome.clients) {
        if (state.phase.name !== 'agreed') continue;
        const { outcomeHash } = state.phase;
        const signatures = consents.filter((one) => one.survivorsHash === outcomeHash);
        const quorum = { survivorsHash: outcomeHash, signatures };
        const { effects } = machine.receiveAsGroupedClient(state, { type: 'quorum', quorum });
        if (effects.some(({ type }) => type === 'journal')) count++;
      }
      return count;
    };
    await showAttack('any-quorum', (machine) => journalled(machine) > 0);
  });

  it('[GAT-4] tiny-cohort: a group below the bounds of a site, in members, survivors or organisations', async () => {
    const small = { grouping: { size: 5, clientCountMin: 6 }, clientCountMin: 5 };
    await showAttack(
      'few-in-group',
      (machine) => sentBy(runGroupedCohort({ ...base, machine, clientSetting: small }), 'shares') > 0,
    );
    const vanishes = (index: number, kind: string): boolean => index === 0 && kind === 'MASKED';
    const five = { grouping: { size: 5, clientCountMin: 5 } };
    await showAttack(
      'few-survivors',
      (machine) => sentBy(runGroupedCohort({ ...base, machine, vanishes, clientSetting: five }), 'agree') === 14,
    );
    const organisationOf = (index: number): string => (index < 13 ? 'org a' : `org ${index}`);
    const strict = { organisationCountMin: 2 };
    await showAttack(
      'few-organisations-in-group',
      (machine) => sentBy(runGroupedCohort({ ...base, machine, organisationOf, clientSetting: strict }), 'shares') > 0,
    );
  });

  it('[GAT-5] share-misrouting: boxes and survivors of one group are of no use in another', () => {
    const seen = new Map<number, Of<'delivery'>>();
    const bend = bending('delivery', (event, index) => {
      seen.set(index, event);
      return index === 0 ? null : event;
    });
    const outcome = runGroupedCohort({ ...base, bend });
    const state = outcome.clients[0]!;
    const group = outcome.groups.findIndex((members) => members.includes(0));
    const stranger = outcome.groups.flat().find((index) => !outcome.groups[group]!.includes(index) && seen.has(index))!;
    assert.equal(outcome.opened.length, 3);
    // The client that lost its boxes still waits for them; those of a member of another group end its attempt.
    const waiting = runGroupedCohort({ ...base, bend, vanishes: (_, kind) => kind === 'MASKED' }).clients[0]!;
    assert.equal(state.phase.name, 'masking');
    const misled = productionMachine.receiveAsGroupedClient(waiting, seen.get(stranger)!);
    assert.ok(misled.state.phase.name === 'aborted' && misled.state.phase.reason.code === 'bad-delivery');
  });
});
