/** Every check of a client on what is said in a round with groups alone, one at a time: the attempt ends there, and no later check has to see it. */
import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import type { GroupedClientEvent } from '../../../shared/secure-aggregation/grouped-client.ts';
import { noGroup } from '../../../shared/secure-aggregation/messages.ts';
import { resigned } from './attacks.ts';
import { type GroupedCohortOptions, productionMachine, runGroupedCohort } from './grouped-cohort.ts';

type Of<Type extends GroupedClientEvent['type']> = Extract<GroupedClientEvent, { readonly type: Type }>;

const other = 'cd'.repeat(32) as Digest;
const base: GroupedCohortOptions = { clientCount: 10, grouping: { size: 5, clientCountMin: 3 } };

/** Changes one kind of message to the client with index 0. */
function toFirst<Type extends GroupedClientEvent['type']>(
  type: Type,
  change: (event: Of<Type>) => GroupedClientEvent | null,
): NonNullable<GroupedCohortOptions['bend']> {
  return (event, index) => (event.type === type && index === 0 ? change(event as Of<Type>) : event);
}

describe('checks of a client in a round with groups, one at a time', () => {
  const withRoster = (change: (entries: Of<'roster'>['roster']['entries']) => Of<'roster'>['roster']['entries']) =>
    toFirst('roster', ({ roster }) => ({ type: 'roster', roster: { entries: [...change(roster.entries)] } }));
  const withOutcome = (change: (outcome: Of<'outcome'>['outcome']) => object) =>
    toFirst('outcome', ({ outcome }) => ({ type: 'outcome', outcome: { ...outcome, ...change(outcome) } }));
  const withDrawn = (changes: object) =>
    toFirst('drawn', ({ drawn }) => ({ type: 'drawn', drawn: { ...drawn, ...changes } }));
  const cases: readonly [string, NonNullable<GroupedCohortOptions['bend']>, RegExp][] = [
    [
      'R1: entries in another order',
      withRoster(([first, second, ...rest]) => [second!, first!, ...rest]),
      /not in the order of client ids at place 1/,
    ],
    [
      'R1: a client without a nonce',
      withRoster((entries) => entries.map((entry, place) => (place === 3 ? resigned(entry, { draw: null }) : entry))),
      /place 3: a nonce is committed to exactly where there are groups/,
    ],
    [
      'R1: a roster with another M1 of this client',
      withRoster((entries) =>
        entries.map((entry) => resigned(entry, { checkpoint: { size: 0, root: '11'.repeat(32) } })),
      ),
      /does not show the keys that this client sent/,
    ],
    ['R1b: nonces of another roster', withDrawn({ rosterHash: other }), /the nonces are of another roster/],
    ['R3: an outcome of another roster', withOutcome(() => ({ rosterHash: other })), /are of another roster/],
    [
      'R3: an outcome of more groups than there are',
      withOutcome(({ groups }) => ({ groups: [...groups, noGroup] })),
      /are of another roster/,
    ],
    ['R3: survivors kept back', withOutcome(() => ({ own: null })), /of the own group are not those of the outcome/],
    [
      'R3: survivors of a group that is left out',
      withOutcome(({ groups }) => ({ groups: groups.map(() => noGroup) })),
      /of the own group are not those of the outcome/,
    ],
    [
      'R4: consents to another outcome',
      toFirst('quorum', ({ quorum }) => ({ type: 'quorum', quorum: { ...quorum, survivorsHash: other } })),
      /the consents are to another outcome/,
    ],
  ];
  for (const [index, [what, bend, reason]] of cases.entries()) {
    it(`[GON-${index + 1}] ${what}`, () => {
      const { phase } = runGroupedCohort({ ...base, bend }).clients[0]!;
      assert.match(phase.name === 'aborted' ? phase.reason.detail : phase.name, reason);
    });
  }

  it('[GON-21] R3: survivors told to a client that has sent no vector', () => {
    const outcomes: Of<'outcome'>[] = [];
    const bend: GroupedCohortOptions['bend'] = (event, index) => {
      if (event.type === 'outcome') outcomes.push(event);
      return index === 0 && event.type === 'delivery' ? null : event;
    };
    const waiting = runGroupedCohort({ ...base, bend }).clients[0]!;
    assert.ok(waiting.phase.name === 'masking' && waiting.phase.inner.phase.name === 'shared');
    const event = outcomes.find(({ outcome }) => outcome.own !== null)!;
    const { phase } = productionMachine.receiveAsGroupedClient(waiting, event).state;
    assert.match(phase.name === 'aborted' ? phase.reason.detail : phase.name, /has not sent its vector/);
  });
});
