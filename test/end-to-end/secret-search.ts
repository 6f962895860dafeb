/** Looks for secrets in what a program left behind, in every form that bytes take there. */

/** Bytes that nobody may find, with what they are. */
export interface Secret {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** What is searched, by name. */
export type Places = ReadonlyMap<string, readonly Uint8Array[]>;

/** Characters by which a form is recognised before it is compared whole: no secret is shorter. */
const beginning = 8;

/** Base64 of bytes wherever they stand in a longer text: at each of the three offsets the digits that depend on nothing else. */
function base64Of(bytes: Uint8Array): string[] {
  return [0, 1, 2].map((offset) => {
    const digits = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
    return digits.slice(Math.ceil((8 * offset) / 6), Math.floor((8 * (offset + bytes.length)) / 6));
  });
}

/** Every way in which bytes could stand in a file or message, one character a byte. */
export function formsOf(bytes: Uint8Array): readonly string[] {
  const hex = Buffer.from(bytes).toString('hex');
  const base64 = base64Of(bytes);
  const url = base64.map((digits) => digits.replaceAll('+', '-').replaceAll('/', '_'));
  return [Buffer.from(bytes).toString('latin1'), hex, hex.toUpperCase(), ...base64, ...url, bytes.join()];
}

/** The secrets that are found, as `name in place`, each once, in order. Reads every place once, whatever the number of secrets. */
export function findSecrets(secrets: readonly Secret[], places: Places): string[] {
  const byBeginning = new Map<string, { readonly name: string; readonly form: string }[]>();
  for (const { name, bytes } of secrets)
    for (const form of new Set(formsOf(bytes))) {
      const key = form.slice(0, beginning);
      byBeginning.set(key, [...(byBeginning.get(key) ?? []), { name, form }]);
    }
  const found = new Set<string>();
  for (const [place, parts] of places)
    for (const part of parts) {
      const text = Buffer.from(part).toString('latin1');
      for (let at = 0; at + beginning <= text.length; at++)
        for (const { name, form } of byBeginning.get(text.slice(at, at + beginning)) ?? [])
          if (text.startsWith(form, at)) found.add(`${name} in ${place}`);
    }
  return [...found].sort();
}
