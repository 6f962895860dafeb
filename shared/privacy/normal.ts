/** The standard normal distribution in double precision, also far out in its tails, where logarithms are needed. */

/** Most terms of the series below 3, and of the continued fraction from 3 on: both have converged. */
const termsMax = { series: 100, fraction: 100 } as const;

/** ln Φ(x), to about 1e-15 of its value. */
export function logNormalCdf(x: number): number {
  if (x > 0) return Math.log1p(-Math.exp(logNormalCdf(-x)));
  return x > -3 ? Math.log(0.5 - centre(-x)) : logTail(-x);
}

/** Φ(x). */
export function normalCdf(x: number): number {
  return Math.exp(logNormalCdf(x));
}

/** Φ(x) − 1/2 for x >= 0 by the series φ(x) (x + x³/3 + x⁵/(3·5) + …), all of whose terms are positive (Marsaglia 2004). */
function centre(x: number): number {
  let [term, sum] = [x, x];
  for (let index = 1; index < termsMax.series && term > 1e-18 * sum; index++) {
    term *= (x * x) / (2 * index + 1);
    sum += term;
  }
  return sum * Math.exp(-0.5 * x * x) * inverseRoot;
}

/** 1 / √(2π). */
const inverseRoot = 1 / Math.sqrt(2 * Math.PI);

/** ln(1 − Φ(x)) for x >= 3 by the continued fraction φ(x) / (x + 1/(x + 2/(x + 3/…))) (Laplace), from its end. */
function logTail(x: number): number {
  let fraction = x;
  for (let index = termsMax.fraction; index >= 1; index--) fraction = x + index / fraction;
  return -0.5 * x * x + Math.log(inverseRoot) - Math.log(fraction);
}
