/** Vulkan in software, for checking what graphics cards compute on machines without one: SwiftShader, which Chromium brings. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { type Result, refuse, succeed } from '../../shared/core/result.ts';

const folders = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/opt/google/chrome'];
const driver = 'libvk_swiftshader.so';

/** What to add to the environment of a process so that Dawn finds it, or why it is not here. */
export function softwareGraphics(): Result<Readonly<Record<string, string>>, string> {
  const folder = folders.find((place) => existsSync(join(place, driver)) && existsSync(join(place, 'libvulkan.so.1')));
  if (folder === undefined) return refuse('no SwiftShader (Debian: apt-get install chromium)');
  const own = mkdtempSync(join(tmpdir(), 'tributary-vulkan-'));
  process.once('exit', () => rmSync(own, { recursive: true, force: true }));
  const settings = join(own, 'swiftshader.json');
  const ICD = { library_path: join(folder, driver), api_version: '1.0.5' };
  writeFileSync(settings, JSON.stringify({ file_format_version: '1.0.0', ICD }));
  const { LD_LIBRARY_PATH: before } = process.env;
  return succeed({
    VK_ICD_FILENAMES: settings,
    LD_LIBRARY_PATH: before === undefined ? folder : `${folder}:${before}`,
  });
}
