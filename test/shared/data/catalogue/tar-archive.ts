/** Makes tar archives for tests, in the ways in which writers differ: a long path goes into a prefix, a pax header or a GNU long name. */

/** How a path of more than 100 bytes is written. */
export type LongNames = 'prefix' | 'pax' | 'gnu';

/** An archive of text files, with a folder, a link and the global header that `git archive` writes. */
export function tarArchive(files: Readonly<Record<string, string>>, longNames: LongNames = 'pax'): Uint8Array {
  const blocks = [
    entry('pax_global_header', 'g', '52 comment=577bd37b96c02d1833b2c9eed2de9f96964e96cb\n'),
    entry('root/', '5', ''),
    entry('root/link', '2', ''),
  ];
  for (const [path, text] of Object.entries(files)) {
    const isLong = Buffer.byteLength(path) > 100;
    if (isLong && longNames === 'pax') blocks.push(entry('PaxHeader', 'x', paxRecord(`path=${path}`)));
    if (isLong && longNames === 'gnu') blocks.push(entry('././@LongLink', 'L', `${path}\0`));
    blocks.push(entry(path, '0', text, isLong && longNames === 'prefix'));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** `LENGTH record` with a newline; the length counts its own digits. */
function paxRecord(record: string): string {
  const rest = Buffer.byteLength(` ${record}\n`);
  let length = rest;
  while (length !== rest + String(length).length) length = rest + String(length).length;
  return `${length} ${record}\n`;
}

function entry(path: string, type: string, text: string, usesPrefix = false): Buffer {
  const content = Buffer.from(text);
  const header = Buffer.alloc(512);
  const cut = usesPrefix ? path.lastIndexOf('/', 150) : -1;
  header.write(path.slice(cut + 1).slice(0, 100), 0);
  if (cut >= 0) header.write(path.slice(0, cut), 345);
  header.write('0000644\0', 100);
  header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
  header.write(type, 156);
  header.write('ustar\u000000', 257);
  header.write(' '.repeat(8), 148);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}
