/** A new minimal correct plan, unparsed. */
export function minimalPlan(): Record<string, unknown> {
  return {
    format: 'tributary-plan-1',
    name: 'Example',
    base: { digest: 'ab'.repeat(32) },
    task: { labels: ['a', 'b'], pooling: 'first' },
    adapter: { method: 'lora' },
    rounds: { count: 3, quorum: 2 },
  };
}
