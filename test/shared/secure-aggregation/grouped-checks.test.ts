/** Every check of either side on what is said in a round with groups alone, one at a time: it is refused there, and no later check has to see it. */
import { strict as assert } from 'node:assert';
import type { Digest } from '../../../shared/core/ids.ts';
import { decodeCanonical, encodeCanonical, type Format } from '../../../shared/protocol/canonical.ts';
import type { GroupedClientEvent } from '../../../shared/secure-aggregation/grouped-client.ts';
import {
  type GroupedServerEvent,
  type GroupedServerState,
  receiveAsGroupedServer,
} from '../../../shared/secure-aggregation/grouped-server.ts';
import { agreeFormat, drawFormat, noGroup } from '../../../shared/secure-aggregation/messages.ts';
import { resigned } from './attacks.ts';
import { identityOf } from './cohort.ts';
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

describe('checks of the coordinator in a round with groups, one at a time', () => {
  type Said = Extract<GroupedServerEvent, { readonly body: Uint8Array }>;
  /** A message of a member with other words, signed by it. */
  const reworded = <Body>(event: Said, kind: 'DRAW' | 'AGREE', format: Format<Body>, changes: object): Said => {
    const decoded = decodeCanonical(format, event.body, kind);
    assert.ok(decoded.ok);
    const body = encodeCanonical(format, { ...decoded.value, ...changes } as Body);
    const { clientCount } = base;
    const owner = [...Array(clientCount).keys()].map(identityOf).find(({ clientId }) => clientId === event.clientId)!;
    return { ...event, body, signature: owner.sign(kind, body) };
  };
  const unsigned = (event: Said): Said => ({ ...event, signature: new Uint8Array(64).fill(1) });
  const cases: readonly [string, Said['type'], (event: Said) => Said, RegExp][] = [
    ['M1b that is not signed', 'draw', unsigned, /^wrong-signature/],
    [
      'M1b for another roster',
      'draw',
      (event) => reworded(event, 'DRAW', drawFormat, { rosterHash: other }),
      /^bad-draw: the nonce is for another roster/,
    ],
    [
      'M1b with another nonce than was committed to',
      'draw',
      (event) => reworded(event, 'DRAW', drawFormat, { nonce: new Uint8Array(32) }),
      /^bad-draw: the nonce is not the one that its client committed to/,
    ],
    ['M4 that is not signed', 'agree', unsigned, /^wrong-signature/],
    [
      'M4 for another roster',
      'agree',
      (event) => reworded(event, 'AGREE', agreeFormat, { rosterHash: other }),
      /^no-quorum: the consent is to another outcome/,
    ],
    [
      'M4 to another outcome',
      'agree',
      (event) => reworded(event, 'AGREE', agreeFormat, { survivorsHash: other }),
      /^no-quorum: the consent is to another outcome/,
    ],
  ];
  for (const [index, [what, type, change, reason]] of cases.entries()) {
    it(`[GSV-${index + 1}] ${what}`, () => {
      let found: string | null = null;
      const server = (state: GroupedServerState, event: GroupedServerEvent): void => {
        if (found !== null || event.type !== type) return;
        const step = receiveAsGroupedServer(state, change(event as Said));
        const [effect] = step.effects;
        assert.equal(step.state, state, 'what is refused changes nothing');
        found = effect?.type === 'reject' ? `${effect.reason.code}: ${effect.reason.detail}` : 'taken';
      };
      runGroupedCohort({ ...base, watch: { client: () => undefined, server } });
      assert.match(found ?? 'never heard', reason);
    });
  }

  it('[GSV-21] M1b: a division in which a group has too few organisations ends the attempt', () => {
    const organisationOf = (index: number): string => (index === 0 ? 'org a' : 'org b');
    const { server, sent } = runGroupedCohort({ ...base, organisationOf, organisationCountMin: 2 });
    assert.match(server.phase.name === 'aborted' ? server.phase.reason.detail : '', /has members of 1 organisations/);
    assert.ok(sent.every(({ type }) => type !== 'shares'));
  });
});
