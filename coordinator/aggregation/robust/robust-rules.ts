/** The robust rule of a plan, composed of its parts. */
import type { RobustSettings } from '../../../shared/plan/robustness.ts';
import { coordinateMedian, trimmedMean } from './coordinate-rules.ts';
import { bulyan, centredClip, geometricMedian, krum, multiKrum } from './distance-rules.ts';
import type { RobustRule } from './rule.ts';
import { bucketing, flTrust, normClip, plainMean } from './views.ts';

/** The rule that `settings` name; null where the mean is taken as it is. */
export function robustRuleOf(settings: RobustSettings): RobustRule | null {
  const { robust, bucketSize, robustNorm } = settings;
  const rule = ruleNamed(settings);
  if (rule === null) return null;
  const bucketedRule = bucketSize > 1 ? bucketing(bucketSize, rule) : rule;
  return robustNorm === undefined || robust === 'centred-clip' ? bucketedRule : normClip(robustNorm, bucketedRule);
}

function ruleNamed({ robust, hostileMax, robustNorm = 1 }: RobustSettings): RobustRule | null {
  switch (robust) {
    case 'none':
      return null;
    case 'norm-clip':
      return plainMean();
    case 'median':
      return coordinateMedian(hostileMax);
    case 'trimmed-mean':
      return trimmedMean(hostileMax);
    case 'geometric-median':
      return geometricMedian(hostileMax);
    case 'centred-clip':
      return centredClip(hostileMax, robustNorm);
    case 'krum':
      return krum(hostileMax);
    case 'multi-krum':
      return multiKrum(hostileMax);
    case 'bulyan':
      return bulyan(hostileMax);
    case 'fltrust':
      return flTrust();
    default:
      return robust satisfies never;
  }
}
