/**
 * State of a coordinator that kills its own process at one step of a round, without giving it a chance to do anything more, and that notes what
 * was about to become durable in a file that outlives it.
 */
import { appendFileSync } from 'node:fs';
import process from 'node:process';
import { decodeAttemptMessage } from '../../coordinator/masking/attempt-log.ts';
import type { CoordinatorState } from '../../coordinator/store/state.ts';
import type { CoordinatorStore } from '../../coordinator/store/store.ts';
import { digestOf } from '../../shared/crypto/hash.ts';

/** Steps of a masked round that become durable: M1 to M5 by their kind, the attempt before, the version after. */
export const doomSteps = ['attempt', 'advert', 'shares', 'masked', 'agree', 'unmask', 'publish'] as const;
/** Name of a step. */
export type DoomStep = (typeof doomSteps)[number];

/** When a coordinator dies: at the `count`-th step of a kind in a round, before or after it is durable. */
export interface Doom {
  readonly roundIndex: number;
  readonly step: DoomStep;
  readonly count: number;
  readonly moment: 'before' | 'after';
}

/** One line of the file: what became durable, or was about to. */
export interface Noted {
  readonly step: DoomStep;
  readonly roundIndex: number;
  readonly clientId: string;
  /** Hash of the message; of a version its model. */
  readonly digest: string;
}

/** The state, watched and doomed. */
export function doomedState(state: CoordinatorState, noteFile: string, doom: Doom | null): CoordinatorState {
  const counts = new Map<string, number>();
  const { store } = state;
  /** From the doomed step on nothing else becomes durable, though messages that come together are written together. */
  let isDying = false;
  const watch = async <Value>(noted: Noted, done: () => Promise<Value>): Promise<Value> => {
    if (isDying) await new Promise<never>(() => undefined);
    appendFileSync(noteFile, `${JSON.stringify(noted)}\n`);
    const { step, roundIndex } = noted;
    const count = (counts.get(`${roundIndex} ${step}`) ?? 0) + 1;
    counts.set(`${roundIndex} ${step}`, count);
    const isDoomed = doom?.roundIndex === roundIndex && doom.step === step && doom.count === count;
    isDying = isDoomed;
    if (isDoomed && doom.moment === 'before') process.kill(process.pid, 'SIGKILL');
    const value = await done();
    if (isDoomed) process.kill(process.pid, 'SIGKILL');
    return value;
  };
  const watched: CoordinatorStore = {
    ...store,
    openAttempt: (attempt) => {
      const { roundIndex, roundParams } = attempt;
      const noted = { step: 'attempt', roundIndex, clientId: '', digest: roundParams } as const;
      return watch(noted, () => store.openAttempt(attempt));
    },
    addAttemptMessage: (roundIndex, message) => {
      const event = decodeAttemptMessage(message);
      const add = (): Promise<void> => store.addAttemptMessage(roundIndex, message);
      if (!('body' in event)) return add();
      const { type: step, clientId, body } = event;
      return watch({ step: step as DoomStep, roundIndex, clientId, digest: digestOf(body) }, add);
    },
    publish: (version, detail) => {
      const { roundIndex, modelHash } = version;
      const noted = { step: 'publish', roundIndex, clientId: '', digest: modelHash } as const;
      return watch(noted, () => store.publish(version, detail));
    },
  };
  return { ...state, store: watched };
}
