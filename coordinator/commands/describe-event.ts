/** What happens to a federation as lines of a log: each says one thing that an operator may want to act on or look up later. */
import { formatDuration } from '../../shared/command-line/progress.ts';
import { headlineMetrics, type Metrics, metricFacts } from '../../shared/training/metrics.ts';
import type { Measure } from '../aggregation/combine.ts';
import type { CoordinatorProgress } from '../events.ts';

/** First digits of an identifier: enough to find it in a list. */
export function shorten(identifier: string): string {
  return identifier.slice(0, 8);
}

/** Metrics in a few words. */
export function describeMetrics(metrics: Metrics): string {
  const parts = headlineMetrics.flatMap((name) =>
    metrics[name] === null ? [] : [`${metricFacts[name].title} ${metrics[name].toFixed(4)}`],
  );
  return `${parts.join(', ')} on ${metrics.exampleCount} rows`;
}

/** Measures that are shares; the others are counts, norms and metrics. */
const shares: ReadonlySet<string> = new Set(['factor-bias', 'factor-bias-estimate', 'discarded', 'sketch-error']);

/** What the aggregation rule and the gate measured, in a few words. */
export function describeMeasures(measures: readonly Measure[]): string {
  const text = ({ name, value }: Measure): string => {
    if (shares.has(name)) return `${(100 * value).toPrecision(3)} %`;
    return name === 'train-loss' ? value.toFixed(4) : String(Number(value.toPrecision(4)));
  };
  return measures.map((measure) => `${measure.name.replaceAll('-', ' ')} ${text(measure)}`).join(', ');
}

/** The line of an event, or null for what only progress shows. `verbose` adds what single clients do. */
export function describeEvent(event: CoordinatorProgress, stateFolder: string, verbose: boolean): string | null {
  switch (event.type) {
    case 'enrolled': {
      const next =
        event.status === 'approved'
          ? ''
          : `; it waits: compare fingerprints, then: tributary invite approve FINGERPRINT --state ${stateFolder}; under a consortium: tributary invite requests --out FOLDER --state ${stateFolder}`;
      return `enrolled "${event.name}" as ${shorten(event.clientId)} (${event.status})${next}`;
    }
    case 'client-joined':
    case 'client-left':
      return verbose ? `${shorten(event.clientId)} ${event.type === 'client-joined' ? 'connected' : 'left'}` : null;
    case 'round-started':
      if (event.beyond > 0)
        return `round ${event.roundIndex}: ${event.asked} clients asked, drawn from ${event.asked + event.beyond}: one masked sum has no more; a new federation with secureAggregation.groupSize asks all`;
      return verbose ? `round ${event.roundIndex}: ${event.asked} clients asked` : null;
    case 'client-declined':
      return `${shorten(event.clientId)} does not take part (${event.code}): ${event.reason}`;
    case 'client-finished': {
      const loss = event.trainLoss === null ? '' : `, training loss ${event.trainLoss.toFixed(4)}`;
      const seconds = formatDuration(1000 * event.seconds);
      return verbose
        ? `round ${event.roundIndex}: update of ${shorten(event.clientId)}, ${event.exampleCount} examples in ${seconds}${loss}`
        : null;
    }
    case 'client-ready':
      return verbose ? `round ${event.roundIndex}: ${shorten(event.clientId)} is ready for the masked round` : null;
    case 'masking': {
      const { roundIndex, of, stage, clients } = event;
      if (stage === 'opened')
        return `round ${roundIndex}: opened the sum of ${clients} masked ${of}s; no single one was visible`;
      return verbose ? `round ${roundIndex}: ${stage} of the masked ${of}, ${clients} clients` : null;
    }
    case 'client-quarantined': {
      const why = event.marks.map(({ roundIndex, reason }) => `${reason} in round ${roundIndex}`).join(', ');
      return `set aside "${event.name}" (${shorten(event.clientId)}): ${why}; let it take part again with: tributary quarantine release ${shorten(event.clientId)} --state ${stateFolder}`;
    }
    case 'client-released':
      return `${shorten(event.clientId)} takes part again`;
    case 'candidate-refused':
      return `round ${event.roundIndex}: the gate refuses the candidate; the version before stays`;
    case 'rejected':
      return `refused ${event.clientId === null ? 'a connection' : shorten(event.clientId)} (${event.code}): ${event.detail}`;
    case 'published': {
      const metrics = event.metrics === null ? '' : `: ${describeMetrics(event.metrics)}`;
      const who = `${event.contributors} of ${event.asked} clients, ${formatDuration(1000 * event.seconds)}`;
      const measures = event.measures.length === 0 ? '' : `; ${describeMeasures(event.measures)}`;
      return `round ${event.roundIndex} published as version ${event.version} with ${who}${metrics}${measures}`;
    }
    case 'phase-started':
      return `phase ${event.index + 1} of ${event.count}, ${event.name}, begins with version ${event.version}`;
    case 'void':
      return `round ${event.roundIndex} is void: ${event.detail}`;
    case 'listening':
    case 'client-accepted':
    case 'client-progress':
    case 'ended':
      return null;
    default:
      return event satisfies never;
  }
}
