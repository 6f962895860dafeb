/**
 * Which event is legal in which phase of a federation, and where it may lead. Nothing else is: any other pair is the violation
 * `unexpected-event` and changes nothing. The diagram of ARCHITECTURE.md is printed from this table.
 */

/** Stages of a federation, in the order in which a round passes them, then its two ends. */
export const phaseNames = [
  'waiting',
  'recruit',
  'train',
  'mask',
  'aggregate',
  'evaluate',
  'publish',
  'completed',
  'stopped',
] as const;
/** Name of a phase. */
export type PhaseName = (typeof phaseNames)[number];

/** Everything that can happen to a federation. */
export const eventNames = [
  'client-joined',
  'client-left',
  'accepted',
  'declined',
  'progressed',
  'update-stored',
  'client-ready',
  'deadline-reached',
  'sum-opened',
  'attempt-failed',
  'aggregated',
  'aggregation-failed',
  'evaluation-stored',
  'evaluation-ended',
  'published',
  'candidate-refused',
  'stop-requested',
] as const;
/** Name of an event. */
export type EventName = (typeof eventNames)[number];

/** Phases to which an event may lead, the own one included where the event may change nothing but fields. */
export type Row = Readonly<Partial<Record<EventName, readonly PhaseName[]>>>;

/** Every legal pair with the phases that may follow. */
export const roundTable: Readonly<Record<PhaseName, Row>> = {
  waiting: {
    'client-joined': ['waiting', 'recruit'],
    // After a void round more may be there than one round asks.
    'client-left': ['waiting', 'recruit'],
    'deadline-reached': ['waiting', 'recruit', 'stopped'],
    'stop-requested': ['stopped'],
  },
  recruit: {
    'client-joined': ['recruit'],
    'client-left': ['recruit', 'train'],
    accepted: ['recruit', 'train'],
    declined: ['recruit', 'train', 'mask', 'aggregate', 'waiting', 'stopped'],
    progressed: ['recruit'],
    'update-stored': ['recruit', 'train', 'aggregate'],
    'client-ready': ['recruit', 'train', 'mask'],
    'deadline-reached': ['recruit', 'train', 'waiting', 'stopped'],
    'stop-requested': ['stopped'],
  },
  train: {
    'client-joined': ['train'],
    'client-left': ['train'],
    accepted: ['train'],
    declined: ['train', 'mask', 'aggregate', 'waiting', 'stopped'],
    progressed: ['train'],
    'update-stored': ['train', 'aggregate'],
    'client-ready': ['train', 'mask'],
    'deadline-reached': ['train', 'mask', 'aggregate', 'waiting', 'stopped'],
    'stop-requested': ['stopped'],
  },
  mask: {
    'client-joined': ['mask'],
    'client-left': ['mask'],
    'sum-opened': ['aggregate'],
    'attempt-failed': ['waiting', 'stopped'],
    'stop-requested': ['stopped'],
  },
  aggregate: {
    'client-joined': ['aggregate'],
    'client-left': ['aggregate'],
    aggregated: ['evaluate', 'publish'],
    'aggregation-failed': ['waiting', 'stopped'],
    'stop-requested': ['stopped'],
  },
  evaluate: {
    'client-joined': ['evaluate'],
    'client-left': ['evaluate', 'publish'],
    'evaluation-stored': ['evaluate', 'publish'],
    'evaluation-ended': ['publish'],
    'deadline-reached': ['evaluate', 'publish'],
    'stop-requested': ['stopped'],
  },
  publish: {
    'client-joined': ['publish'],
    'client-left': ['publish'],
    published: ['recruit', 'waiting', 'completed', 'stopped'],
    'candidate-refused': ['waiting', 'stopped'],
    'stop-requested': ['publish'],
  },
  completed: {},
  stopped: {},
};

/** The phases as a mermaid state diagram, one arrow per legal change of phase with the events that cause it. */
export function phaseDiagram(): string {
  const lines = ['stateDiagram-v2', '  [*] --> waiting'];
  for (const from of phaseNames) {
    const causes = new Map<PhaseName, EventName[]>();
    for (const event of eventNames) {
      for (const to of roundTable[from][event] ?? [])
        if (to !== from) causes.set(to, [...(causes.get(to) ?? []), event]);
    }
    for (const to of phaseNames) if (causes.has(to)) lines.push(`  ${from} --> ${to}: ${causes.get(to)!.join(', ')}`);
  }
  return [...lines, '  completed --> [*]', '  stopped --> [*]'].join('\n');
}
