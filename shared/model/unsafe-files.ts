/**
 * Weights in formats that are not read, and why. A pickle is a program: opening one runs what its author wrote, so no file of that kind is
 * ever opened here, whatever its name.
 */
import { FormatError } from '../core/errors.ts';

const convert =
  "convert it once, where nothing can come to harm: python -c \"from transformers import AutoModel; AutoModel.from_pretrained('FOLDER').save_pretrained('SAFE', safe_serialization=True)\"";
const pickle = `a pickle of Python, which runs its author's code when it is opened; take the checkpoint's safetensors files, or ${convert}`;
const otherFormat = (format: string) =>
  `weights in the format of ${format}, which is not read here; take the checkpoint's safetensors files, or ${convert}`;

/** Names of files by what they are; the first that matches counts. */
const formats: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^training_args\.bin$|^(optimizer|scheduler)\.pt$|^rng_state.*\.pth$/, ''],
  [/\.(bin|pt|pth|ckpt|pkl|pickle)(\.index\.json)?$/, pickle],
  [/\.h5$|\.ckpt\.index$/, otherFormat('TensorFlow')],
  [/\.msgpack$/, otherFormat('Flax')],
  [/\.gguf$|\.ggml$/, otherFormat('llama.cpp')],
  [/\.onnx$/, otherFormat('ONNX')],
];

/** What a file with weights is by its name where it is not read, or null. */
export function unreadFormatOf(name: string): string | null {
  const found = formats.find(([pattern]) => pattern.test(name));
  return found === undefined || found[1] === '' ? null : found[1];
}

/** What a file is by its first bytes where it is a pickle under another name, or null. */
export function magicOf(start: Uint8Array): string | null {
  // PyTorch writes a zip archive around a pickle, earlier versions a pickle of protocol 2, which begins with 0x80 0x02.
  const isZip = start[0] === 0x50 && start[1] === 0x4b && start[2] === 0x03 && start[3] === 0x04;
  const isPickle = start[0] === 0x80 && start[1]! >= 2 && start[1]! <= 5;
  // As the length of a header, bytes other than zero here are beyond any limit: no safetensors file begins like this.
  const isNoLength = start.subarray(4, 8).some((byte) => byte !== 0);
  return (isZip || isPickle) && isNoLength ? pickle : null;
}

/**
 * Says why files without safetensors weights are no base model.
 * @param where the folder or repository, for messages.
 * @throws FormatError `unsafe-file` when there are weights in another format, `missing-file` otherwise.
 */
export function refuseWithoutWeights(names: readonly string[], where: string): never {
  for (const name of names) {
    const format = unreadFormatOf(name);
    if (format === null) continue;
    throw new FormatError('unsafe-file', `${where} has no safetensors weights; ${name} is ${format}`);
  }
  const found = names.join(', ') || 'no file';
  throw new FormatError(
    'missing-file',
    `a base model needs model.safetensors, or model.safetensors.index.json with its shards; found ${found} in ${where}`,
  );
}
