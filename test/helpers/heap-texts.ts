/**
 * Every text of this process that can be reached. Texts that grew by concatenation stand in a snapshot as trees of their pieces and are put together
 * here. Run with {@link wholeTexts}: without it V8 cuts long texts.
 */
import { text } from 'node:stream/consumers';
import { getHeapSnapshot } from 'node:v8';

/** Flag of a process whose texts are looked through. */
export const wholeTexts = '--heap-snapshot-string-limit=100000000';

/** What of a snapshot is read here. */
interface Snapshot {
  readonly snapshot: {
    readonly meta: {
      readonly node_fields: readonly string[];
      readonly node_types: readonly [readonly string[]];
      readonly edge_fields: readonly string[];
    };
  };
  readonly nodes: readonly number[];
  readonly edges: readonly number[];
  readonly strings: readonly string[];
}

/** The texts, one after the other; collects garbage first. */
export async function heapTexts(): Promise<string> {
  const { snapshot, nodes, edges, strings } = JSON.parse(await text(getHeapSnapshot())) as Snapshot;
  const { node_fields: nodeFields, node_types: nodeTypes, edge_fields: edgeFields } = snapshot.meta;
  const [typeAt, nameAt, countAt] = ['type', 'name', 'edge_count'].map((field) => nodeFields.indexOf(field)) as [
    number,
    number,
    number,
  ];
  const [labelAt, toAt] = ['name_or_index', 'to_node'].map((field) => edgeFields.indexOf(field)) as [number, number];
  const concatenated = nodeTypes[0].indexOf('concatenated string');
  /** Pieces of every text that grew, by its node. */
  const pieces = new Map<number, number[]>();
  let edge = 0;
  for (let node = 0; node < nodes.length; node += nodeFields.length) {
    const end = edge + nodes[node + countAt]! * edgeFields.length;
    if (nodes[node + typeAt] === concatenated) {
      const byName = new Map<string | undefined, number>();
      for (let at = edge; at < end; at += edgeFields.length)
        byName.set(strings[edges[at + labelAt]!], edges[at + toAt]!);
      pieces.set(
        node,
        ['first', 'second'].flatMap((name) => byName.get(name) ?? []),
      );
    }
    edge = end;
  }
  const inner = new Set([...pieces.values()].flat());
  const grown = [...pieces.keys()].filter((node) => !inner.has(node));
  const putTogether = (root: number): string => {
    const found: string[] = [];
    const waiting = [root];
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      const parts = pieces.get(node);
      if (parts === undefined) found.push(strings[nodes[node + nameAt]!]!);
      else waiting.push(...parts.toReversed());
    }
    return found.join('');
  };
  return [...strings, ...grown.map(putTogether)].join('\n');
}
