/** Watches the coordinator of a world after every event, and every sum that it opens. */
import type { GroupedServerEvent, GroupedServerPhase } from '../../shared/secure-aggregation/grouped-server.ts';
import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import { addTo } from '../../shared/secure-aggregation/ring.ts';
import type { ServerState } from '../../shared/secure-aggregation/server-state.ts';
import { graphsOf, hasGroups, isLegalForServer, type ServerAttempt, type ServerAttemptStep } from './attempts.ts';
import { check } from './check.ts';
import type { SignedMessage } from './client-checker.ts';

const order: readonly GroupedServerPhase['name'][] = [
  'advertising',
  'drawing',
  'sharing',
  'collecting',
  'agreeing',
  'unmasking',
  'opened',
  'aborted',
];

/** What a client signs, by the event in which the coordinator's machine hears it. */
export const kindOfEvent = {
  advert: 'ADVERT',
  draw: 'DRAW',
  shares: 'SHARES',
  masked: 'MASKED',
  agree: 'AGREE',
  unmask: 'UNMASK',
} as const;

/** The least number of clients that open anything in the active profile, by the specification's own formula. */
function leastOf(rosterSize: number): number {
  return Math.floor((2 * rosterSize) / 3) + 1;
}

/** Checks a step of the coordinator's machine. `isGenuine` tells whether a message was signed by its sender, byte for byte. */
export function checkServerStep(
  before: ServerAttempt,
  event: GroupedServerEvent,
  { state, effects }: ServerAttemptStep,
  isGenuine: (message: Omit<SignedMessage, 'roundIndex'>) => boolean,
): void {
  const what = `coordinator ${before.phase.name} x ${event.type}`;
  if (!isLegalForServer(before, event)) {
    const isQuiet = state.phase === before.phase && effects.every(({ type }) => type === 'reject');
    check('illegal-changes-nothing', isQuiet, what);
    return;
  }
  checkForward(what, before.phase.name, state.phase.name);
  const isTaken = effects.some(({ type }) => type === 'persist');
  if (isTaken && event.type !== 'deadline' && event.type !== 'abandon') {
    const { clientId, body, signature } = event;
    const isTrue = isGenuine({ clientId, kind: kindOfEvent[event.type], body, signature });
    check('authenticity', isTrue, `${what}: taken from ${clientId.slice(0, 8)}, who did not send it`);
  }
  checkQuorum(what, before, event, state);
  if (before.phase.name === 'drawing' && hasGroups(state)) checkDivision(what, state);
  const graphs = graphsOf(state);
  const graphsBefore = graphsOf(before);
  if (graphs.length === graphsBefore.length)
    for (const [index, graph] of graphs.entries()) checkGraph(what, graphsBefore[index]!, event, graph);
  for (const effect of effects) {
    if (effect.type !== 'open-sum' && effect.type !== 'open-sums') continue;
    const openings = effect.type === 'open-sum' ? [{ group: 0, opening: effect.opening }] : effect.openings;
    for (const { group, opening } of openings) {
      const { members } = opening.members;
      check('threshold', graphs[group]?.phase.name === 'opened', `${what}: group ${group} opens, and is left out`);
      const isEnough = opening.survivors.length >= leastOf(members.length);
      check('threshold', isEnough, `${opening.survivors.length} survivors of ${members.length} opened`);
    }
  }
}

function checkForward(what: string, from: GroupedServerPhase['name'], to: GroupedServerPhase['name']): void {
  check('forward-only', order.indexOf(to) >= order.indexOf(from), `${what} leads to ${to}`);
}

/** Checks one machine of a complete graph: it goes forward, and opens at its threshold and not below. */
function checkGraph(what: string, before: ServerState, event: GroupedServerEvent, after: ServerState): void {
  checkForward(what, before.phase.name, after.phase.name);
  if (before.phase.name === 'collecting' && after.phase.name === 'agreeing') {
    const { survivors, members: all } = after.phase;
    const isEnough = survivors.length >= leastOf(all.members.length);
    check('threshold', isEnough, `${survivors.length} survivors of ${all.members.length} are asked for their consent`);
  }
  if (before.phase.name !== 'unmasking' || after.phase.name !== 'opened') return;
  const { members, answers } = before.phase;
  // The machine has just left the phase that holds the answers; the one that opened the sum is the last of them.
  const count = answers.size + (event.type === 'unmask' ? 1 : 0);
  const isEnough = count >= leastOf(members.members.length);
  check('threshold', isEnough, `${count} answers of ${members.members.length} opened a sum`);
}

/** Checks that shares are asked for once two thirds of the roster consented. */
function checkQuorum(what: string, before: ServerAttempt, event: GroupedServerEvent, after: ServerAttempt): void {
  const { phase } = before;
  if (phase.name !== 'agreeing' || after.phase.name !== 'unmasking') return;
  const { members } = 'whole' in phase ? phase.whole : phase.members;
  const count = phase.consents.size + (event.type === 'agree' ? 1 : 0);
  check('quorum', count >= leastOf(members.length), `${what}: ${count} consents of ${members.length}`);
}

/** Checks that everybody on a roster is in one group, and that no group is below the size of groups. */
function checkDivision(
  what: string,
  { setting, phase }: Extract<ServerAttempt, { setting: { grouping: unknown } }>,
): void {
  if (phase.name !== 'sharing') return;
  const places = phase.groups.flatMap((group) => group.places);
  const isWhole = new Set(places).size === places.length && places.length === phase.whole.members.length;
  check('one-division', isWhole, `${what}: somebody is in two groups, or in none`);
  const least = Math.min(setting.grouping.size, places.length);
  const isLarge = phase.groups.every((group) => group.places.length >= least);
  check('one-division', isLarge, `${what}: a group is below the size of groups`);
}

/** Checks that an opened sum is that of the plain vectors of its survivors, word for word. */
export function checkSum(opened: MaskedVector, plain: readonly MaskedVector[]): void {
  const sum = { coordinates: opened.coordinates.slice().fill(0), tail: opened.tail.slice().fill(0) };
  for (const { coordinates, tail } of plain) {
    addTo(sum.coordinates, coordinates);
    addTo(sum.tail, tail);
  }
  const isEqual =
    sum.coordinates.every((word, index) => word === opened.coordinates[index]) &&
    sum.tail.every((word, index) => word === opened.tail[index]);
  check('exact-sum', isEqual, `the opened sum of ${plain.length} clients is not theirs`);
}
