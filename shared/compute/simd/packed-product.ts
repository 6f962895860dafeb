/**
 * Products with a matrix that is packed once and used often: y = x W + c. Six rows by eight columns are computed at a time and stay in registers
 * (Goto 2008, section 4). W lies in panels of eight columns, each panel row after row, so that it is read from front to back. Rows go in blocks
 * that stay in the second cache while all panels pass.
 */
import {
  type Code,
  type FunctionSpecification,
  i32,
  type Local,
  multiplyAdd,
  repeatLoop,
  v128,
  whileLoop,
} from './assembler.ts';

/** Rows that are computed at once, which is the least number of rows. */
export const tileRows = 6;
/** Columns of a panel, which is the least number of columns; the last panel overlaps with the one before it where they are no multiple. */
const panelColumns = 8;
/** Steps of the inner sum that are written out; its length is a multiple. */
const innerMultiple = 4;

const float32Bytes = 4;
const vectorBytes = 16;
const panelBytes = panelColumns * float32Bytes;
/** Values of a block of rows: 256 KiB. */
const blockValues = 65_536;

/** Rows of a block, for rows of `inSize` values. */
export function blockRows(inSize: number): number {
  return tileRows * Math.max(1, Math.floor(blockValues / inSize / tileRows));
}

/** Whether {@link packedProduct} can multiply such a matrix. */
export function canPack(inSize: number, outSize: number): boolean {
  return inSize > 0 && inSize % innerMultiple === 0 && outSize >= panelColumns;
}

/** Values of such a matrix in panels. */
export function packedSize(inSize: number, outSize: number): number {
  return inSize * panelColumns * Math.ceil(outSize / panelColumns);
}

/**
 * Writes W into panels.
 * @param valueAt W by row and column; called `inSize * outSize` times.
 */
export function packPanels(
  packed: Float32Array,
  inSize: number,
  outSize: number,
  {
    values,
    rowStride,
    columnStride,
  }: { readonly values: Float32Array; readonly rowStride: number; readonly columnStride: number },
): void {
  let place = 0;
  for (let start = 0; start < outSize; start += panelColumns) {
    const first = Math.min(start, outSize - panelColumns);
    for (let row = 0; row < inSize; row++) {
      const from = row * rowStride + first * columnStride;
      for (let column = 0; column < panelColumns; column++) packed[place++] = values[from + column * columnStride]!;
    }
  }
}

/** `packed product (x, packed, bias, y, rowCount, inBytes, outBytes, blockRows)`; bytes are those of rows of x and of y. */
export function packedProduct(relaxed: boolean): FunctionSpecification {
  const fused = multiplyAdd(relaxed);
  return {
    name: 'packed product',
    parameters: ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    body: (frame, ...all) => {
      const [x, packed, bias, y, rowCount, inBytes, outBytes, rowsOfBlock] = all as unknown as [
        ...[Local, Local, Local, Local, Local, Local, Local, Local],
      ];
      const whole = () => frame.local('i32');
      const tile = Array.from({ length: tileRows }, whole);
      const [block, blockEnd, panel, biasAt, column, row, first, at, end, place] = Array.from(
        { length: 10 },
        whole,
      ) as [...[Local, Local, Local, Local, Local, Local, Local, Local, Local, Local]];
      const [left, right, factor] = [frame.local('v128'), frame.local('v128'), frame.local('v128')];
      const sums = tile.map(() => [frame.local('v128'), frame.local('v128')] as const);
      const steps = Array.from(
        { length: innerMultiple },
        (_, step): Code => [
          ...left.set(v128.load(at.get, step * panelBytes)),
          ...right.set(v128.load(at.get, step * panelBytes + vectorBytes)),
          ...sums.flatMap(([low, high], index) => [
            ...factor.set(v128.loadSplat(tile[index]!.get, step * float32Bytes)),
            ...low.set(fused(factor.get, left.get, low.get)),
            ...high.set(fused(factor.get, right.get, high.get)),
          ]),
        ],
      );
      const inner = repeatLoop(
        [
          ...steps.flat(),
          ...tile.flatMap((address) => address.move(innerMultiple * float32Bytes)),
          ...at.move(innerMultiple * panelBytes),
        ],
        i32.isBelow(tile[0]!.get, end.get),
      );
      const oneTile: Code = [
        // The last tile overlaps with the one before it.
        ...first.set(i32.lower(row.get, i32.subtract(rowCount.get, i32.constant(tileRows)))),
        ...tile[0]!.set(i32.add(x.get, i32.multiply(first.get, inBytes.get))),
        ...tile.slice(1).flatMap((address, index) => address.set(i32.add(tile[index]!.get, inBytes.get))),
        ...end.set(i32.add(tile[0]!.get, inBytes.get)),
        ...at.set(panel.get),
        ...sums.flatMap(([low, high]) => [
          ...low.set(v128.load(biasAt.get)),
          ...high.set(v128.load(biasAt.get, vectorBytes)),
        ]),
        ...inner,
        ...at.set(i32.add(i32.add(y.get, place.get), i32.multiply(first.get, outBytes.get))),
        ...sums.flatMap(([low, high]) => [
          ...v128.store(at.get, low.get),
          ...v128.store(at.get, high.get, vectorBytes),
          ...at.set(i32.add(at.get, outBytes.get)),
        ]),
        ...row.move(tileRows),
      ];
      const onePanel: Code = [
        ...place.set(i32.lower(column.get, i32.subtract(outBytes.get, i32.constant(panelBytes)))),
        ...biasAt.set(i32.add(bias.get, place.get)),
        ...row.set(block.get),
        ...whileLoop(i32.isBelow(row.get, blockEnd.get), oneTile),
        ...panel.set(i32.add(panel.get, i32.multiply(inBytes.get, i32.constant(panelColumns)))),
        ...column.move(panelBytes),
      ];
      return [
        ...block.set(i32.constant(0)),
        ...whileLoop(i32.isBelow(block.get, rowCount.get), [
          ...blockEnd.set(i32.lower(i32.add(block.get, rowsOfBlock.get), rowCount.get)),
          ...panel.set(packed.get),
          ...column.set(i32.constant(0)),
          ...whileLoop(i32.isBelow(column.get, outBytes.get), onePanel),
          ...block.set(blockEnd.get),
        ]),
      ];
    },
  };
}

/** `pack panels (w, packed, rowCount, rowBytes)`: what {@link packPanels} does with a matrix that lies row after row. */
export const packing: FunctionSpecification = {
  name: 'pack panels',
  parameters: ['i32', 'i32', 'i32', 'i32'],
  body: (frame, ...all) => {
    const [w, packed, rowCount, rowBytes] = all as unknown as [...[Local, Local, Local, Local]];
    const [column, at, left] = [frame.local('i32'), frame.local('i32'), frame.local('i32')];
    return [
      ...column.set(i32.constant(0)),
      ...whileLoop(i32.isBelow(column.get, rowBytes.get), [
        ...at.set(i32.add(w.get, i32.lower(column.get, i32.subtract(rowBytes.get, i32.constant(panelBytes))))),
        ...left.set(rowCount.get),
        ...whileLoop(left.get, [
          ...v128.store(packed.get, v128.load(at.get)),
          ...v128.store(packed.get, v128.load(at.get, vectorBytes), vectorBytes),
          ...packed.move(panelBytes),
          ...at.set(i32.add(at.get, rowBytes.get)),
          ...left.set(i32.subtract(left.get, i32.constant(1))),
        ]),
        ...column.move(panelBytes),
      ]),
    ];
  },
};
