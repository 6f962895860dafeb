/** What attacks of a coordinator on clients of a masked round are made of. */
import { strict as assert } from 'node:assert';
import type { ClientId } from '../../../shared/core/ids.ts';
import { decodeCanonical, encodeCanonical } from '../../../shared/protocol/canonical.ts';
import type { ClientEvent, ClientPhase } from '../../../shared/secure-aggregation/client-state.ts';
import { advertFormat, type RosterEntry } from '../../../shared/secure-aggregation/messages.ts';
import { type Machines, productionMachines } from '../../../simulations/world/machines.ts';
import { loadMutant, type MutantName } from '../../simulation/mutants.ts';
import { type CohortOptions, type CohortOutcome, identityOf } from './cohort.ts';

/** What a coordinator says in an attempt. */
export type Stage = 'roster' | 'delivery' | 'survivors' | 'quorum';
/** Changes what it says to one client. */
export type Bend = NonNullable<CohortOptions['bend']>;
/** What it says in one stage. */
export type Of<Type extends Stage> = Extract<ClientEvent, { readonly type: Type }>;

/** Whether clients go on where they must not: with the check left out they do, production's do not. */
export async function showAttack(mutant: MutantName, succeeds: (machines: Machines) => boolean): Promise<void> {
  assert.equal(succeeds(await loadMutant(mutant)), true, `the attack works without the check (${mutant})`);
  assert.equal(succeeds(productionMachines), false, 'and does not work with it');
}

/** Changes one kind of message to the clients whose index is given, or to all. */
export function bending<Type extends Stage>(type: Type, change: (event: Of<Type>) => ClientEvent, only?: number): Bend {
  return (event, index) => (event.type === type && (only ?? index) === index ? change(event as Of<Type>) : event);
}

/** Messages of a type that clients sent. */
export const sentBy = (outcome: CohortOutcome, type: string): number =>
  outcome.sent.filter((event) => event.type === type).length;
/** Where clients stand in the end. */
export const phasesOf = ({ clients }: CohortOutcome): ClientPhase['name'][] =>
  clients.map(({ state }) => state.phase.name);
/** Changes the roster for all clients. */
export const withRoster = (change: (entries: readonly RosterEntry[]) => readonly RosterEntry[]) =>
  bending('roster', ({ roster }) => ({ type: 'roster', roster: { entries: [...change(roster.entries)] } }));

/** Entries in the order in which a roster must have them. */
export function sorted(entries: readonly RosterEntry[]): RosterEntry[] {
  const idOf = ({ advert }: RosterEntry): ClientId => {
    const decoded = decodeCanonical(advertFormat, advert, 'M1');
    assert.ok(decoded.ok);
    return decoded.value.clientId;
  };
  return [...entries].sort((left, right) => (idOf(left) < idOf(right) ? -1 : 1));
}

/** The entry of a roster with other words in its advert, signed by whoever has the key. */
export function resigned(entry: RosterEntry, changes: object): RosterEntry {
  const decoded = decodeCanonical(advertFormat, entry.advert, 'M1');
  assert.ok(decoded.ok);
  const owner = [...Array(12).keys()].map(identityOf).find(({ clientId }) => clientId === decoded.value.clientId)!;
  const advert = encodeCanonical(advertFormat, { ...decoded.value, ...changes });
  return { ...entry, advert, signature: owner.sign('ADVERT', advert) };
}
