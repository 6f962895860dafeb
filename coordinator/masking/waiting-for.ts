/** Whom the server's machine waits for, and whom it tells what. Pure. */
import type { ClientId } from '../../shared/core/ids.ts';
import {
  type GroupedServerEffect,
  type GroupedServerState,
  survivorsAt,
} from '../../shared/secure-aggregation/grouped-server.ts';
import type { ServerEffect, ServerState } from '../../shared/secure-aggregation/server-state.ts';
import type { StageEvent } from '../../shared/secure-aggregation/stage.ts';

/** Clients whose message the phase in hand waits for. */
export function missingOf({ setting, phase }: ServerState): ClientId[] {
  if (phase.name === 'advertising') return setting.invited.filter((clientId) => !phase.adverts.has(clientId));
  if (phase.name === 'opened' || phase.name === 'aborted') return [];
  const awaited = (isAwaited: (place: number) => boolean): ClientId[] =>
    phase.members.members.filter(({ place }) => isAwaited(place)).map(({ clientId }) => clientId);
  switch (phase.name) {
    case 'sharing':
      return awaited((place) => !phase.shares.has(place));
    case 'collecting':
      return awaited((place) => phase.shares.has(place) && !phase.stored.has(place));
    case 'agreeing':
      return awaited((place) => phase.survivors.includes(place) && !phase.consents.has(place));
    case 'unmasking':
      return awaited((place) => phase.survivors.includes(place) && !phase.answers.has(place));
    default:
      return phase satisfies never;
  }
}

/** The same of a round with groups. */
export function missingInGroups({ phase }: GroupedServerState): ClientId[] {
  switch (phase.name) {
    case 'advertising':
      return missingOf(phase.inner);
    case 'drawing':
      return phase.whole.members.filter(({ place }) => !phase.nonces.has(place)).map(({ clientId }) => clientId);
    case 'sharing':
    case 'collecting':
    case 'unmasking':
      // A group that has its survivors waits for the others, not for its members.
      return phase.groups.flatMap(({ inner }) => (inner.phase.name === 'agreeing' ? [] : missingOf(inner)));
    case 'agreeing':
      return phase.groups
        .flatMap(survivorsAt)
        .filter((place) => !phase.consents.has(place))
        .map((place) => phase.whole.members[place]!.clientId);
    case 'opened':
    case 'aborted':
      return [];
    default:
      return phase satisfies never;
  }
}

type SendEffect = Extract<ServerEffect | GroupedServerEffect, { readonly type: `send-${string}` }>;

/** The message of an effect, and who gets it. */
export function clientsOfStage(effect: SendEffect): {
  readonly event: StageEvent;
  readonly clients: readonly ClientId[];
} {
  switch (effect.type) {
    case 'send-roster':
      return { event: { type: 'roster', roster: effect.roster }, clients: effect.clients };
    case 'send-delivery':
      return { event: { type: 'delivery', delivery: effect.delivery }, clients: [effect.clientId] };
    case 'send-survivors':
      return { event: { type: 'survivors', survivors: effect.survivors }, clients: effect.clients };
    case 'send-quorum':
      return { event: { type: 'quorum', quorum: effect.quorum }, clients: effect.clients };
    case 'send-drawn':
      return { event: { type: 'drawn', drawn: effect.drawn }, clients: effect.clients };
    case 'send-outcome':
      return { event: { type: 'outcome', outcome: effect.outcome }, clients: effect.clients };
    default:
      return effect satisfies never;
  }
}
