/** The kinds of merge; what each does stands in `merge-documents.ts`. */
export const mergeKinds = ['linear', 'cat', 'svd', 'ties', 'magnitude-prune', 'dare-linear', 'dare-ties'] as const;
/** One of {@link mergeKinds}. */
export type MergeKind = (typeof mergeKinds)[number];
