/** An adapter document at work on a base: its values on the back end, and the hooks of every pass. */
import { tensor1d } from '@tensorflow/tfjs-core';
import { seededRandom } from '../core/random.ts';
import type { BaseDescription, SiteHooks } from '../model/base-model.ts';
import { taskLayout } from '../training/initial-adapter.ts';
import { nameTensors, splitFlat } from '../training/parameters.ts';
import type { AdapterDocument } from './adapter-document.ts';
import { adapterOnBase } from './document-on-base.ts';

/** {@link documentHooks}. */
export interface DocumentHooks {
  /** Hooks of one pass outside training. */
  hooksOf(): SiteHooks;
  /** Frees the values. */
  dispose(): void;
}

/** Puts the values of a document on the current back end. @throws as `adapterOnBase` does. */
export function documentHooks(document: AdapterDocument, base: BaseDescription): DocumentHooks {
  const adapter = adapterOnBase(document, base);
  const layout = taskLayout(adapter, base, document.task);
  const flat = tensor1d(document.parameters);
  const tensors = splitFlat(flat, layout);
  flat.dispose();
  const parameters = nameTensors(tensors, layout);
  return {
    hooksOf: () => adapter.hooks({ parameters, training: false, random: seededRandom(0) }),
    dispose: () => {
      for (const tensor of tensors) tensor.dispose();
    },
  };
}
