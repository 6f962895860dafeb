/** Decoders of requests over HTTP to a server of adapters. */
import { parseClassify, parseGenerate } from '../../coordinator/serving/requests.ts';
import type { ValueTarget } from './fuzz-target.ts';

/** Bodies of requests. */
export function requestTargets(): ValueTarget[] {
  return [
    {
      name: 'body of /classify',
      sample: { adapter: 'cards@2', texts: ['Lost my cards.', ['split', 'into', 'words']], top: 3, task: 'topics' },
      decode: parseClassify,
    },
    {
      name: 'body of /generate',
      sample: {
        adapter: 'cards',
        prompt: 'Once',
        chat: true,
        lengthMax: 5,
        temperature: 0.5,
        topP: 0.9,
        topK: 4,
        seed: 2,
      },
      decode: parseGenerate,
    },
  ];
}
