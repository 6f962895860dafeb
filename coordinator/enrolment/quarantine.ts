/**
 * Who is set aside, by the rule of the plan (`shared/plan/quarantine.ts`): marks of the round in hand are kept in memory until it ends, then made
 * durable and judged. A client that is set aside stays connected; it is asked no more until an operator
 * releases it, which a running coordinator sees when a round ends, and when the client connects.
 */
import * as z from 'zod/mini';
import type { Happening } from '../../shared/audit/entry.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { Quarantine } from '../../shared/plan/quarantine.ts';
import type { ViolationCode } from '../../shared/protocol/violations.ts';
import type { CoordinatorStore } from '../store/store.ts';

/** Violations for which a client is marked: what an honest client never sends, whatever its clock and its connection do. */
const offences: ReadonlySet<string> = new Set<ViolationCode>([
  'bad-frame',
  'bad-envelope',
  'wrong-signature',
  'wrong-sender',
  'layout-mismatch',
  'update-too-large',
  'wrong-length',
  'chunk-mismatch',
  'root-mismatch',
  'non-finite',
  'conflicting-update',
  'bad-weight',
  'bad-metrics',
  'bad-shares',
  'bad-share',
  'bad-dealer',
]);

const markSchema = z.object({ roundIndex: z.int(), reason: z.string() });
const fileSchema = z.object({ marks: z.array(markSchema), sinceRound: z.nullable(z.int()) });

/** Why a client was marked in a round: a violation, `ejected` from a masked round, or `long` for the length of its update. */
export type Mark = z.output<typeof markSchema>;
/** What is known of a client: its marks since it was released last, and the round since which it is set aside. */
export type ClientFile = z.output<typeof fileSchema>;

/** The file of a client; an empty one where it was never marked. */
export async function fileOf(
  { documents }: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
): Promise<ClientFile> {
  const hex = await documents.get(`quarantine/${clientId}`);
  return hex === null
    ? { marks: [], sinceRound: null }
    : z.parse(fileSchema, JSON.parse(new TextDecoder().decode(fromHex(hex))));
}

async function keep(
  { documents }: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
  file: ClientFile,
): Promise<void> {
  await documents.put(`quarantine/${clientId}`, toHex(utf8(JSON.stringify(file))));
}

/** A client that was just set aside. */
export interface SetAside {
  readonly clientId: ClientId;
  readonly name: string;
  readonly marks: readonly Mark[];
}

/** What a book works with. */
export interface QuarantinePorts {
  readonly store: Pick<CoordinatorStore, 'documents' | 'clients'>;
  readonly rule: Quarantine;
  readonly note: (happening: Happening) => Promise<void>;
}

/** The marks of a running federation. */
export interface QuarantineBook {
  /** Whether a client is set aside, as far as this process knows. */
  has(clientId: ClientId): boolean;
  /** Marks a client in the round in hand, unless what it did is no offence. */
  mark(clientId: ClientId, reason: ViolationCode | 'ejected' | 'long'): void;
  /** The round is over: makes its marks durable, and judges whoever has one. */
  settle(roundIndex: number): Promise<readonly SetAside[]>;
  /** Looks who was released meanwhile. */
  refresh(): Promise<readonly ClientId[]>;
}

/** The book of a store. @throws StoreError. */
export async function openQuarantine({ store, rule, note }: QuarantinePorts): Promise<QuarantineBook> {
  const aside = new Set<ClientId>();
  const marked = new Map<ClientId, string>();
  for (const { clientId } of await store.clients())
    if ((await fileOf(store, clientId)).sinceRound !== null) aside.add(clientId);
  const judge = async (clientId: ClientId, reason: string, roundIndex: number): Promise<SetAside | null> => {
    const file = await fileOf(store, clientId);
    const counted = file.marks.filter(
      (mark) => mark.roundIndex > roundIndex - rule.rounds && mark.roundIndex !== roundIndex,
    );
    const marks = [...counted, { roundIndex, reason }];
    const isOut = file.sinceRound === null && marks.length >= rule.marks;
    await keep(store, clientId, { marks, sinceRound: isOut ? roundIndex : file.sinceRound });
    if (!isOut) return null;
    aside.add(clientId);
    await note({
      type: 'client-quarantined',
      subject: `${clientId}/${roundIndex}`,
      payload: { clientId, roundIndex, marks },
    });
    const client = (await store.clients()).find((one) => one.clientId === clientId);
    return { clientId, name: client?.name ?? '', marks };
  };
  return {
    has: (clientId) => aside.has(clientId),
    mark: (clientId, reason) => {
      const counts = reason === 'ejected' || reason === 'long' || offences.has(reason);
      if (rule.marks > 0 && counts && !marked.has(clientId)) marked.set(clientId, reason);
    },
    settle: async (roundIndex) => {
      const found = [...marked].sort(([left], [right]) => (left < right ? -1 : 1));
      marked.clear();
      const out: SetAside[] = [];
      for (const [clientId, reason] of found) out.push(...[(await judge(clientId, reason, roundIndex)) ?? []].flat());
      return out;
    },
    refresh: async () => {
      const released: ClientId[] = [];
      for (const clientId of aside) if ((await fileOf(store, clientId)).sinceRound === null) released.push(clientId);
      for (const clientId of released) aside.delete(clientId);
      return released;
    },
  };
}

/** Lets a client take part again, with no marks; false where it is not set aside. */
export async function releaseClient(
  store: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
  note: QuarantinePorts['note'],
): Promise<boolean> {
  const { sinceRound } = await fileOf(store, clientId);
  if (sinceRound === null) return false;
  await note({ type: 'client-released', subject: `${clientId}/${sinceRound}`, payload: { clientId, sinceRound } });
  await keep(store, clientId, { marks: [], sinceRound: null });
  return true;
}
