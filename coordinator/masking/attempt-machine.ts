/** The coordinator's machine of an attempt with the state that it is in: that of a complete graph, or that of a round with groups. */
import type { ClientId } from '../../shared/core/ids.ts';
import type { Violation } from '../../shared/protocol/violations.ts';
import type { Grouping } from '../../shared/secure-aggregation/division.ts';
import {
  type GroupedServerEffect,
  type GroupedServerEvent,
  type GroupedServerPhase,
  openGroupedAttempt,
  receiveAsGroupedServer,
} from '../../shared/secure-aggregation/grouped-server.ts';
import { openAttempt, receiveAsServer } from '../../shared/secure-aggregation/server-machine.ts';
import type { ServerEffect, ServerEvent, ServerSetting } from '../../shared/secure-aggregation/server-state.ts';
import { missingInGroups, missingOf } from './waiting-for.ts';

/** What an attempt is made with; a round has groups where there is a grouping. */
export interface AttemptSetting extends Omit<ServerSetting, 'isDivided'> {
  readonly grouping: Grouping | null;
}

/** Whatever happens to an attempt. */
export type AttemptEvent = GroupedServerEvent;
/** What the driver must do; the sum of a complete graph is that of its only group. */
export type AttemptEffect = Exclude<ServerEffect, { readonly type: 'open-sum' | 'persist' }> | GroupedServerEffect;
/** Stages of an attempt. */
export type AttemptPhase = GroupedServerPhase['name'];

/** A machine and its state. One owner. */
export interface AttemptMachine {
  phase(): AttemptPhase;
  receive(event: AttemptEvent): readonly AttemptEffect[];
  /** Why an event would be refused now, or null; changes nothing. */
  judge(event: AttemptEvent): Violation | null;
  /** Clients whose message is awaited. */
  missing(): readonly ClientId[];
}

const refusalIn = (effects: readonly (ServerEffect | GroupedServerEffect)[]): Violation | null =>
  effects.flatMap((effect) => (effect.type === 'reject' ? [effect.reason] : []))[0] ?? null;

/** The machine of an attempt that begins. */
export function createAttemptMachine({ grouping, ...setting }: AttemptSetting): AttemptMachine {
  if (grouping === null) {
    let state = openAttempt(setting);
    return {
      phase: () => state.phase.name,
      receive: (event) => {
        const step = receiveAsServer(state, event as ServerEvent);
        state = step.state;
        return step.effects.map((effect) =>
          effect.type === 'open-sum'
            ? { type: 'open-sums', openings: [{ group: 0, opening: effect.opening }], groupCount: 1 }
            : effect,
        );
      },
      judge: (event) => refusalIn(receiveAsServer(state, event as ServerEvent).effects),
      missing: () => missingOf(state),
    };
  }
  let state = openGroupedAttempt({ ...setting, grouping });
  return {
    phase: () => state.phase.name,
    receive: (event) => {
      const step = receiveAsGroupedServer(state, event);
      state = step.state;
      return step.effects;
    },
    judge: (event) => refusalIn(receiveAsGroupedServer(state, event).effects),
    missing: () => missingInGroups(state),
  };
}
