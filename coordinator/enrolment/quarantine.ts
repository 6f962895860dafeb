/**
 * Who is set aside, by the rule of the plan (`shared/plan/quarantine.ts`): marks of the round in hand are kept in memory until it ends, then made
 * durable and judged. A client that is set aside stays connected; it is asked no more until an operator
 * releases it, which a running coordinator sees when a round ends, and when the client connects. A client that was ejected from a masked round
 * sits out some round numbers, whatever the plan says about marks, and whether the coordinator was restarted meanwhile or not.
 */
import * as z from 'zod/mini';
import type { Happening } from '../../shared/audit/entry.ts';
import { fromHex, toHex, utf8 } from '../../shared/core/bytes.ts';
import type { ClientId } from '../../shared/core/ids.ts';
import type { Quarantine } from '../../shared/plan/quarantine.ts';
import type { ViolationCode } from '../../shared/protocol/violations.ts';
import { ejectionRounds } from '../rounds/state.ts';
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
const fileSchema = z.object({
  marks: z.array(markSchema),
  sinceRound: z.nullable(z.int()),
  ejectedIn: z._default(z.nullable(z.int()), null),
  releasedFrom: z._default(z.nullable(z.int()), null),
});

/** Why a client was marked in a round: a violation, `ejected` from a masked round, or `long` for the length of its update. */
export type Mark = z.output<typeof markSchema>;
/**
 * What is known of a client: its marks since it was released last, the round since which it is set aside, from which it was ejected last, and what
 * it was released from last.
 */
export type ClientFile = z.output<typeof fileSchema>;

const noMarks: ClientFile = { marks: [], sinceRound: null, ejectedIn: null, releasedFrom: null };

/** The file of a client; an empty one where it was never marked. */
export async function fileOf(
  { documents }: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
): Promise<ClientFile> {
  const hex = await documents.get(`quarantine/${clientId}`);
  return hex === null ? noMarks : z.parse(fileSchema, JSON.parse(new TextDecoder().decode(fromHex(hex))));
}

async function keep(
  { documents }: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
  file: ClientFile,
): Promise<void> {
  await documents.put(`quarantine/${clientId}`, toHex(utf8(JSON.stringify(file))));
}

const setAside = (clientId: ClientId, roundIndex: number, marks: readonly Mark[]): Happening => ({
  type: 'client-quarantined',
  subject: `${clientId}/${roundIndex}`,
  payload: { clientId, roundIndex, marks },
});
const released = (clientId: ClientId, sinceRound: number): Happening => ({
  type: 'client-released',
  subject: `${clientId}/${sinceRound}`,
  payload: { clientId, sinceRound },
});

const ejection = (clientId: ClientId, roundIndex: number): Happening => ({
  type: 'client-ejected',
  subject: `${clientId}/${roundIndex}`,
  payload: { clientId, roundIndex },
});

/** What the log is to hold of a client's file: that it is set aside, was ejected last, and was released last. */
export function happeningsOfFile(
  clientId: ClientId,
  { marks, sinceRound, ejectedIn, releasedFrom }: ClientFile,
): Happening[] {
  const counted = marks.filter(({ roundIndex }) => sinceRound !== null && roundIndex <= sinceRound);
  return [
    ...(releasedFrom === null ? [] : [released(clientId, releasedFrom)]),
    ...(ejectedIn === null ? [] : [ejection(clientId, ejectedIn)]),
    ...(sinceRound === null ? [] : [setAside(clientId, sinceRound, counted)]),
  ];
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
  /** Who was ejected from a masked round, with the number from which it is asked again, as it was when the book was opened. */
  readonly barred: Readonly<Record<ClientId, number>>;
  /** Marks a client in the round in hand, unless what it did is no offence. */
  mark(clientId: ClientId, reason: ViolationCode | 'long'): void;
  /** Marks a client that a masked round ejected, durably and in the log: before anything is told of the attempt that it broke. */
  eject(clientId: ClientId, roundIndex: number): Promise<void>;
  /** The round is over: makes its marks durable, and judges whoever has one. */
  settle(roundIndex: number): Promise<readonly SetAside[]>;
  /** Looks who was released meanwhile. */
  refresh(): Promise<readonly ClientId[]>;
}

/** The book of a store. @throws StoreError. */
export async function openQuarantine({ store, rule, note }: QuarantinePorts): Promise<QuarantineBook> {
  const aside = new Set<ClientId>();
  const marked = new Map<ClientId, string>();
  const barred: Record<ClientId, number> = {};
  /** Ejected and not released as far as this process knows. */
  const ejected = new Set<ClientId>();
  for (const { clientId } of await store.clients()) {
    const { sinceRound, ejectedIn } = await fileOf(store, clientId);
    if (sinceRound !== null) aside.add(clientId);
    if (ejectedIn === null) continue;
    ejected.add(clientId);
    barred[clientId] = ejectedIn + 1 + ejectionRounds;
  }
  const judge = async (clientId: ClientId, reason: string, roundIndex: number): Promise<SetAside | null> => {
    const file = await fileOf(store, clientId);
    const counted = file.marks.filter(
      (mark) => mark.roundIndex > roundIndex - rule.rounds && mark.roundIndex !== roundIndex,
    );
    const marks = [...counted, { roundIndex, reason }];
    const isOut = rule.marks > 0 && file.sinceRound === null && marks.length >= rule.marks;
    await keep(store, clientId, { ...file, marks, sinceRound: isOut ? roundIndex : file.sinceRound });
    if (!isOut) return null;
    aside.add(clientId);
    await note(setAside(clientId, roundIndex, marks));
    const client = (await store.clients()).find((one) => one.clientId === clientId);
    return { clientId, name: client?.name ?? '', marks };
  };
  return {
    has: (clientId) => aside.has(clientId),
    barred,
    mark: (clientId, reason) => {
      const counts = reason === 'long' || offences.has(reason);
      if (rule.marks > 0 && counts && !marked.has(clientId)) marked.set(clientId, reason);
    },
    eject: async (clientId, roundIndex) => {
      marked.set(clientId, 'ejected');
      ejected.add(clientId);
      await keep(store, clientId, { ...(await fileOf(store, clientId)), ejectedIn: roundIndex });
      await note(ejection(clientId, roundIndex));
    },
    settle: async (roundIndex) => {
      const found = [...marked].sort(([left], [right]) => (left < right ? -1 : 1));
      marked.clear();
      const out: SetAside[] = [];
      for (const [clientId, reason] of found) out.push(...[(await judge(clientId, reason, roundIndex)) ?? []].flat());
      return out;
    },
    refresh: async () => {
      const free: ClientId[] = [];
      for (const clientId of new Set([...aside, ...ejected])) {
        const { sinceRound, ejectedIn } = await fileOf(store, clientId);
        if ((aside.has(clientId) && sinceRound === null) || (ejected.has(clientId) && ejectedIn === null))
          free.push(clientId);
      }
      for (const clientId of free) {
        aside.delete(clientId);
        ejected.delete(clientId);
      }
      return free;
    },
  };
}

/** Lets a client take part again, with no marks; false where it is neither set aside nor was ejected. */
export async function releaseClient(
  store: Pick<CoordinatorStore, 'documents'>,
  clientId: ClientId,
  note: QuarantinePorts['note'],
): Promise<boolean> {
  const { sinceRound, ejectedIn } = await fileOf(store, clientId);
  const since = sinceRound ?? ejectedIn;
  if (since === null) return false;
  await keep(store, clientId, { ...noMarks, releasedFrom: since });
  await note(released(clientId, since));
  return true;
}
