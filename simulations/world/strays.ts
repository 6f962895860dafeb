/** Events that nobody waits for, made of nothing: machines must leave them be in every phase in which they are not legal. */
import type { ClientId, Digest } from '../../shared/core/ids.ts';
import { violation } from '../../shared/protocol/violations.ts';
import type { GroupedServerEvent } from '../../shared/secure-aggregation/grouped-server.ts';
import type { ClientAttemptEvent } from '../checkers/attempts.ts';

const hash = '00'.repeat(32) as Digest;
const nothing = new Uint8Array(0);
const signature = new Uint8Array(64);
const survivors = { rosterHash: hash, survivors: nothing, inputsRoot: hash };

/** An operator, or the user of a site, stops an attempt. */
export const stopped = { type: 'abandon', reason: violation('stale-round', 'stopped by its operator') } as const;

/** An event of every type for a client. */
export const clientStrays: readonly ClientAttemptEvent[] = [
  { type: 'signed', signature },
  { type: 'roster', roster: { entries: [] } },
  { type: 'drawn', drawn: { rosterHash: hash, nonces: [] } },
  { type: 'delivery', delivery: { rosterHash: hash, dealers: nothing, boxes: [] } },
  { type: 'vector-masked', vecRoot: hash, chunkDigests: [] },
  { type: 'survivors', survivors },
  { type: 'outcome', outcome: { rosterHash: hash, groups: [], own: survivors } },
  { type: 'quorum', quorum: { survivorsHash: hash, signatures: [] } },
  { type: 'journaled', isFirst: true },
  { type: 'result' },
  stopped,
];

/** An event of every type for the coordinator, said by a client. */
export function serverStrays(clientId: ClientId): readonly GroupedServerEvent[] {
  const said = { clientId, body: nothing, signature };
  return [
    { type: 'advert', ...said, publicKey: new Uint8Array(32), certificate: nothing },
    { type: 'draw', ...said },
    { type: 'shares', ...said },
    { type: 'masked', ...said },
    { type: 'agree', ...said },
    { type: 'unmask', ...said },
    { type: 'deadline' },
    stopped,
  ];
}
