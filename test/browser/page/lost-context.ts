/** Takes a graphics device away from a client that is about to train. */
import { engine } from '@tensorflow/tfjs-core';
import { FederationError } from '../../../shared/core/errors.ts';
import { strict as assert } from '../stand-ins/assert.ts';
import { prepareTraining, trainedMethods, trainPrepared } from './training.ts';

/** The part of the back ends that owns the device. */
interface Devices {
  readonly gpgpu: { readonly gl: WebGL2RenderingContext };
  readonly device: GPUDevice;
}

/** Takes the context of the back end `webgl` away. */
export function loseWebGl(): void {
  const { gpgpu } = engine().backend as unknown as Devices;
  gpgpu.gl.getExtension('WEBGL_lose_context')!.loseContext();
}

/** Prepares training, loses the device, and expects that training refuses with that reason instead of sending an update. */
export async function loseContext(name: 'webgl' | 'webgpu'): Promise<void> {
  const learning = await prepareTraining(name, trainedMethods[0]);
  if (name === 'webgl') loseWebGl();
  else {
    const { device } = engine().backend as unknown as Devices;
    device.destroy();
    await device.lost;
  }
  const pattern = name === 'webgl' ? /its WebGL context was lost/ : /its WebGPU device was lost/;
  await assert.rejects(trainPrepared(learning), (thrown) => {
    return thrown instanceof FederationError && thrown.code === 'device-lost' && pattern.test(thrown.message);
  });
}
