/** A folder that appears whole or not at all. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { CheckpointError } from '../core/errors.ts';
import { cannotWrite, isSystemError } from './file-bytes.ts';

/**
 * Writes a model or adapter folder under a temporary name beside it, then renames it: a reader never sees half a folder.
 * An older folder of that kind is replaced; between the two renames it is called `.<name>.<process>.partial.old`.
 *
 * @param write puts the files into the folder it is given
 * @throws CheckpointError when the place cannot be written, or holds something that is no model folder
 */
export function writeModelFolder(folder: string, write: (temporary: string) => void): void {
  const replaces = existsSync(folder);
  if (replaces && !(statSync(folder).isDirectory() && isReplaceable(readdirSync(folder)))) {
    throw new CheckpointError({
      where: folder,
      expected: 'a new name, an empty folder or an older model folder',
      received: 'something else of this name',
      fix: 'Name another folder',
    });
  }
  // An absolute path, so that "." and a trailing slash have a name and a folder above.
  const target = resolve(folder);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  const old = `${temporary}.old`;
  try {
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(temporary, { recursive: true });
    write(temporary);
    if (replaces) renameSync(target, old);
    renameSync(temporary, target);
    rmSync(old, { recursive: true, force: true });
  } catch (cause) {
    if (!existsSync(target) && existsSync(old)) renameSync(old, target);
    if (existsSync(temporary)) rmSync(temporary, { recursive: true });
    throw isSystemError(cause) ? cannotWrite(folder, cause) : cause;
  }
}

/** Puts files by name into a folder, also into subfolders. */
export function writeFiles(folder: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
}

/** Whether nothing is lost that saving does not write again: a folder that is empty, or holds a model or an adapter. */
function isReplaceable(entries: readonly string[]): boolean {
  return entries.length === 0 || entries.includes('config.json') || entries.includes('adapter_config.json');
}
