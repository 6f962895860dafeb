/** Finds a browser on this machine, and starts it so that its graphics work without a graphics card. */
import { existsSync } from 'node:fs';
import process from 'node:process';
import { type Browser, chromium } from 'playwright-core';

const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/opt/google/chrome/chrome',
];

/** The browser's program: `TRIBUTARY_CHROMIUM`, or where systems put it; null where there is none. */
export function findChromium(): string | null {
  const named = process.env.TRIBUTARY_CHROMIUM;
  if (named !== undefined) return existsSync(named) ? named : null;
  return places.find((path) => existsSync(path)) ?? null;
}

const flags = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // WebGL and WebGPU in software where there is no card.
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--enable-features=Vulkan',
  // A loaded machine takes longer for a kernel in software than a graphics card may.
  '--disable-gpu-watchdog',
];

/** Starts the browser without a window. */
export function startChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, headless: true, args: flags, timeout: 60_000 });
}
