/** Watches the coordinator of a world after every event, and every sum that it opens. */

import type { MaskedVector } from '../../shared/secure-aggregation/mask.ts';
import { addTo } from '../../shared/secure-aggregation/ring.ts';
import type { ServerEvent, ServerPhase, ServerStep } from '../../shared/secure-aggregation/server-state.ts';
import { legalServerEvents } from '../../shared/secure-aggregation/server-state.ts';
import { check } from './check.ts';
import type { SignedMessage } from './client-checker.ts';

const order: readonly ServerPhase['name'][] = [
  'advertising',
  'sharing',
  'collecting',
  'agreeing',
  'unmasking',
  'opened',
  'aborted',
];

const kinds = { advert: 'ADVERT', shares: 'SHARES', masked: 'MASKED', agree: 'AGREE', unmask: 'UNMASK' } as const;

/** The least number of clients that open anything in the active profile, by the specification's own formula. */
function leastOf(rosterSize: number): number {
  return Math.floor((2 * rosterSize) / 3) + 1;
}

/** Checks a step of the coordinator's machine. `isGenuine` tells whether a message was signed by its sender, byte for byte. */
export function checkServerStep(
  phase: ServerPhase,
  event: ServerEvent,
  { state, effects }: ServerStep,
  isGenuine: (message: Omit<SignedMessage, 'roundIndex'>) => boolean,
): void {
  const what = `coordinator ${phase.name} x ${event.type}`;
  if (!legalServerEvents[phase.name].includes(event.type)) {
    const isQuiet = state.phase === phase && effects.every(({ type }) => type === 'reject');
    check('illegal-changes-nothing', isQuiet, what);
    return;
  }
  const [from, to] = [order.indexOf(phase.name), order.indexOf(state.phase.name)];
  check('forward-only', to >= from, `${what} leads to ${state.phase.name}`);
  const isTaken = effects.some(({ type }) => type === 'persist');
  if (isTaken && event.type !== 'deadline' && event.type !== 'abandon') {
    const { clientId, body, signature } = event;
    const isTrue = isGenuine({ clientId, kind: kinds[event.type], body, signature });
    check('authenticity', isTrue, `${what}: taken from ${clientId.slice(0, 8)}, who did not send it`);
  }
  for (const effect of effects) {
    if (effect.type !== 'open-sum') continue;
    const { members, survivors } = effect.opening;
    const least = leastOf(members.members.length);
    // The machine has just left the phase that holds the answers; the one that opened the sum is the last of them.
    const answers = phase.name === 'unmasking' ? phase.answers.size + (event.type === 'unmask' ? 1 : 0) : 0;
    check('threshold', survivors.length >= least, `${survivors.length} survivors of ${members.members.length} opened`);
    check('threshold', answers >= least, `${answers} answers of ${members.members.length} opened a sum`);
  }
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
