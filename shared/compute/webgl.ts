/** WebGL, in browsers, with what the library leaves open: devices of half precision are refused, and a lost context is found. */

import type { MathBackendWebGL } from '@tensorflow/tfjs-backend-webgl';
import { env, findBackend } from '@tensorflow/tfjs-core';
import { isNode } from './place.ts';
import { type GraphicsDevice, isSoftwareName } from './webgpu.ts';

/**
 * Makes the back end `webgl` known to TensorFlow.js.
 * @throws Error where there is no WebGL, or none with 32-bit numbers.
 */
export async function registerWebGl(): Promise<GraphicsDevice> {
  if (isNode()) throw new Error('it runs in browsers only');
  await import('@tensorflow/tfjs-backend-webgl');
  if (!env().getBool('HAS_WEBGL')) throw new Error('this browser has no WebGL');
  if (!env().getBool('WEBGL_RENDER_FLOAT32_ENABLED')) {
    throw new Error('WebGL computes with 16-bit numbers on this device, which is too coarse for training');
  }
  const backend = findBackend('webgl') as MathBackendWebGL | null;
  if (backend === null) throw new Error('WebGL does not start');
  const { gl } = backend.gpgpu;
  const names = gl.getExtension('WEBGL_debug_renderer_info');
  const description = String(gl.getParameter(names === null ? gl.RENDERER : names.UNMASKED_RENDERER_WEBGL));
  return { description, isSoftware: isSoftwareName(description), tensorBytesMax: null };
}

/** Why the back end no longer computes; null while it does. A lost context reads as zeros, without an error. */
export function webGlLoss(): string | null {
  const backend = findBackend('webgl') as MathBackendWebGL | null;
  return backend?.gpgpu.gl.isContextLost() === true ? 'its WebGL context was lost' : null;
}
