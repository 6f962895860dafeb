/** Checkpoints as large models are published: sixteen bits a number, and the same numbers written out. */
import { readSafetensors, tensorValues, writeSafetensors } from '../../shared/model/safetensors.ts';

/** The tensors of `checkpoint` cut to BF16: as a file of that type, and as one of float32 with the same numbers. */
export function bfloat16Of(checkpoint: Uint8Array): { readonly stored: Uint8Array; readonly widened: Uint8Array } {
  const { tensors } = readSafetensors(checkpoint, 'the checkpoint');
  const cut = new Map(
    [...tensors].map(([name, entry]) => {
      const words = new Uint32Array(tensorValues(entry).slice().buffer).map((word) => word & 0xffff0000);
      return [name, { shape: entry.shape, values: new Float32Array(words.buffer) }];
    }),
  );
  const header: Record<string, object> = {};
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of cut) {
    const halves = Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16);
    header[name] = { dtype: 'BF16', shape, data_offsets: [offset, offset + halves.byteLength] };
    parts.push(new Uint8Array(halves.buffer));
    offset += halves.byteLength;
  }
  const text = JSON.stringify(header);
  const head = Buffer.from(text.padEnd(text.length + ((8 - (text.length % 8)) % 8)));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(head.length));
  return { stored: new Uint8Array(Buffer.concat([size, head, ...parts])), widened: writeSafetensors(cut) };
}
