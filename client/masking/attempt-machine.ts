/** The client's machine of an attempt with the state that it is in: that of a complete graph, or that of a round with groups. */
import type { Violation } from '../../shared/protocol/violations.ts';
import { receiveAsClient, startAttempt } from '../../shared/secure-aggregation/client-machine.ts';
import type { ClientEvent, ClientPhase, ClientSetting } from '../../shared/secure-aggregation/client-state.ts';
import type { Grouping } from '../../shared/secure-aggregation/division.ts';
import {
  type GroupedClientEffect,
  type GroupedClientEvent,
  type GroupedClientPhase,
  receiveAsGroupedClient,
  startGroupedAttempt,
} from '../../shared/secure-aggregation/grouped-client.ts';
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';

/** What an attempt is made with; a round has groups where there is a grouping. */
export interface AttemptSetting extends Omit<ClientSetting, 'draw'> {
  readonly grouping: Grouping | null;
}

/** Whatever happens to an attempt. */
export type AttemptEvent = ClientEvent | GroupedClientEvent;
/** What the coordinator says in an attempt that is open. */
type Awaited = Exclude<StageEvent['type'], 'open'>;

/** A machine and its state. One owner. */
export interface AttemptMachine {
  /** What to do at the beginning. */
  readonly first: readonly GroupedClientEffect[];
  receive(event: AttemptEvent): readonly GroupedClientEffect[];
  /** Stages that the phase in hand waits for. */
  awaits(): readonly Awaited[];
  /** Whether the shares that open the sum were taken. */
  isFinished(): boolean;
  /** Zeroes what is left of an attempt. */
  abandon(reason: Violation): void;
}

const inCompleteGraph: Readonly<Partial<Record<ClientPhase['name'], readonly Awaited[]>>> = {
  advertised: ['roster'],
  shared: ['delivery'],
  masked: ['survivors'],
  agreed: ['quorum'],
};

/** What a client in a round with groups waits for: in its group for boxes too, unless the group is left out. */
function awaitedInGroups(phase: GroupedClientPhase): readonly Awaited[] {
  switch (phase.name) {
    case 'announcing':
      return ['roster'];
    case 'drawn':
      return ['drawn'];
    case 'masking':
      return phase.inner.phase.name === 'shared' ? ['delivery', 'outcome'] : ['outcome'];
    case 'agreed':
      return ['quorum'];
    default:
      return [];
  }
}

/** Begins an attempt. */
export function createAttemptMachine({ grouping, ...setting }: AttemptSetting): AttemptMachine {
  if (grouping === null) {
    let { state, effects } = startAttempt(setting);
    return {
      first: effects,
      receive: (event) => {
        ({ state, effects } = receiveAsClient(state, event as ClientEvent));
        return effects;
      },
      awaits: () => inCompleteGraph[state.phase.name] ?? [],
      isFinished: () => state.phase.name === 'finished',
      abandon: (reason) => void receiveAsClient(state, { type: 'abandon', reason }),
    };
  }
  let { state, effects } = startGroupedAttempt({ ...setting, grouping });
  return {
    first: effects,
    receive: (event) => {
      ({ state, effects } = receiveAsGroupedClient(state, event as GroupedClientEvent));
      return effects;
    },
    awaits: () => awaitedInGroups(state.phase),
    isFinished: () => state.phase.name === 'finished',
    abandon: (reason) => void receiveAsGroupedClient(state, { type: 'abandon', reason }),
  };
}
