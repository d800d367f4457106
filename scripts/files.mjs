/** What the scripts share. All of them run in the repository's root, whatever folder they are called from. */
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const SKIPPED = new Set(['node_modules', 'dist', 'runs', 'coverage']);

/**
 * Files below `folder` whose name ends with `ending`, sorted, with `/` between the parts. Hidden folders and those
 * that git ignores are skipped.
 */
export async function listFiles(folder, ending) {
  const found = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory() && !SKIPPED.has(entry.name) && !entry.name.startsWith('.')) {
      found.push(...(await listFiles(path, ending)));
    } else if (entry.isFile() && entry.name.endsWith(ending)) found.push(path);
  }
  return found.sort();
}

/** Whether the module with this URL is the one that node was started with. */
export function isMainModule(url) {
  return process.argv[1] !== undefined && fileURLToPath(url) === process.argv[1];
}

/** Prints the problems and sets the exit code. */
export function report(problems, checked) {
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
  else console.log(`${checked}, no problem`);
}
