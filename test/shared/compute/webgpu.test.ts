/** WebGPU in Node, on a graphics card or on software in place of one. */
import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import type { Backend } from '../../../shared/compute/backend.ts';
import { hasGraphicsCard } from '../../../shared/compute/webgpu.node.ts';
import { boundPool, isSoftwareName } from '../../../shared/compute/webgpu.ts';
import { softwareGraphics } from '../../helpers/software-graphics.ts';

/** What the process prints. */
interface Seen extends Backend {
  readonly values: readonly number[];
  readonly left: number;
  readonly loss: string;
}

describe('WebGPU in Node', () => {
  it('[WGP-1] names of renderers in software are known from those of graphics cards', () => {
    const software = [
      'ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device (Subzero)))',
      'llvmpipe (LLVM 15.0.6, 256 bits)',
      'Microsoft Basic Render Driver',
    ];
    const cards = [
      'nvidia H100 PCIe (NVIDIA: 550.54)',
      'intel xe',
      'apple M2 Max',
      'AMD Radeon RX 7900 XTX (RADV NAVI31)',
      '',
    ];
    assert.deepEqual([...software, ...cards].filter(isSoftwareName), software);
  });

  it('[WGP-3] buffers that nobody uses are kept for reuse up to a bound, and given back beyond it', () => {
    const reused: boolean[] = [];
    const bufferManager = {
      numBytesAllocated: 0,
      numBytesUsed: 0,
      releaseBuffer: (_: { readonly size: number }, reuse = true) => {
        reused.push(reuse);
      },
    };
    boundPool({ bufferManager }, 100);
    const release = (size: number, allocated: number, used: number, reuse?: boolean) => {
      Object.assign(bufferManager, { numBytesAllocated: allocated, numBytesUsed: used });
      bufferManager.releaseBuffer({ size }, reuse);
    };
    release(40, 100, 100);
    release(40, 100, 40);
    release(41, 100, 40);
    release(1, 100, 100, false);
    assert.deepEqual(reused, [true, true, false, false]);
  });

  it('[WGP-2] computes right, reads values at once and later, and says when its device is lost', async function () {
    this.timeout(300_000);
    const graphics = softwareGraphics();
    if (!graphics.ok && !hasGraphicsCard()) {
      console.error(`      not run: WebGPU in Node: no graphics card, and ${graphics.error}`);
      this.skip();
    }
    const env = { ...process.env, ...(graphics.ok && !hasGraphicsCard() ? graphics.value : {}) };
    const script = join(import.meta.dirname, 'webgpu-process.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [script], { env, timeout: 280_000 });
    const seen = JSON.parse(stdout.trim().split('\n').at(-1)!) as Seen;
    assert.equal(seen.name, 'webgpu');
    // 64 products of 2 and 2; the sum of 4096 times 6; twice the first.
    assert.deepEqual(seen.values, [24_576, 256, 512]);
    assert.equal(seen.left, 0);
    assert.match(
      seen.loss,
      /^device-lost: this device does not compute any more: its WebGPU device was lost \(destroyed.*restart/,
    );
    const reason = seen.rejected.find(({ name }) => name === 'webgpu')?.reason;
    if (seen.isSoftware) assert.match(reason!, /^there is no graphics card, only software in place of one \(/);
    else assert.equal(reason, undefined);
  });
});
