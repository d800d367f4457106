/** Finds the ONNX Runtime library that the npm package onnxruntime-node carries. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EngineError } from '../../core/errors.ts';

/** File name of the library per platform. Other platforms have no build in the package. */
const fileNames: Readonly<Record<string, string>> = {
  linux: 'libonnxruntime.so.1',
  darwin: 'libonnxruntime.1.dylib',
  win32: 'onnxruntime.dll',
};

/**
 * Path of `libonnxruntime` for a platform.
 *
 * @throws EngineError when the package is not installed or carries no library for the platform.
 */
export function findLibrary(platform: string = process.platform, arch: string = process.arch): string {
  const where = 'findLibrary';
  const fileName = fileNames[platform];
  let root: string;
  try {
    root = dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  } catch (cause) {
    throw new EngineError({
      where,
      expected: 'the package onnxruntime-node',
      received: 'none installed',
      fix: 'Run npm install onnxruntime-node, or use the engine "interpreter"',
      cause,
    });
  }
  const path = join(root, 'bin', 'napi-v6', platform, arch, fileName ?? 'libonnxruntime');
  if (fileName !== undefined && existsSync(path)) return path;
  throw new EngineError({
    where,
    expected: `an ONNX Runtime library for ${platform}/${arch} at ${path}`,
    received: 'no such file',
    fix: 'Reinstall onnxruntime-node on this machine, pass the option "library" with the path of a libonnxruntime, or use the engine "interpreter"',
  });
}
