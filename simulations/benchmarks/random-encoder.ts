/** A BERT checkpoint with random weights, in memory: what the benchmark of the training step computes on. */
import { utf8 } from '../../shared/core/bytes.ts';
import { seededRandom } from '../../shared/core/random.ts';
import { writeSafetensors } from '../../shared/model/safetensors.ts';

/** Sizes of the network and of the batch. */
export interface StepShape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly feedForward: number;
  readonly sequence: number;
  readonly batch: number;
  readonly rank: number;
}

/** Ids of the random texts; the embedding takes no part in a step's cost. */
export const vocabularySize = 512;

/** Normal numbers that are drawn, a prime; matrices repeat them from places of their own, since drawing a hundred million takes a minute. */
const drawnCount = 65_521;

/** Files of the checkpoint. */
export function randomEncoderFiles({
  layers,
  width,
  heads,
  feedForward,
  sequence,
}: StepShape): Map<string, Uint8Array> {
  const random = seededRandom(1, 'random-encoder');
  const drawn = Float32Array.from({ length: drawnCount }, () => 0.05 * random.normal());
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  const matrix = (name: string, rowCount: number, columnCount: number) => {
    const start = random.fork(name).integer(drawnCount);
    const values = Float32Array.from(
      { length: rowCount * columnCount },
      (_, index) => drawn[(start + index) % drawnCount]!,
    );
    tensors.set(name, { shape: [rowCount, columnCount], values });
  };
  const vector = (name: string, size: number, value: number) => {
    tensors.set(name, { shape: [size], values: new Float32Array(size).fill(value) });
  };
  const norm = (name: string) => {
    vector(`${name}.weight`, width, 1);
    vector(`${name}.bias`, width, 0);
  };
  matrix('embeddings.word_embeddings.weight', vocabularySize, width);
  matrix('embeddings.position_embeddings.weight', sequence, width);
  matrix('embeddings.token_type_embeddings.weight', 2, width);
  norm('embeddings.LayerNorm');
  for (let layer = 0; layer < layers; layer++) {
    const stem = `encoder.layer.${layer}`;
    for (const [name, outSize, inSize] of [
      ['attention.self.query', width, width],
      ['attention.self.key', width, width],
      ['attention.self.value', width, width],
      ['attention.output.dense', width, width],
      ['intermediate.dense', feedForward, width],
      ['output.dense', width, feedForward],
    ] as const) {
      matrix(`${stem}.${name}.weight`, outSize, inSize);
      vector(`${stem}.${name}.bias`, outSize, 0.01);
    }
    norm(`${stem}.attention.output.LayerNorm`);
    norm(`${stem}.output.LayerNorm`);
  }
  const configuration = {
    model_type: 'bert',
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: feedForward,
    max_position_embeddings: sequence,
    vocab_size: vocabularySize,
    type_vocab_size: 2,
    hidden_act: 'gelu',
    layer_norm_eps: 1e-12,
  };
  return new Map([
    ['config.json', utf8(JSON.stringify(configuration))],
    ['model.safetensors', writeSafetensors(tensors)],
  ]);
}
