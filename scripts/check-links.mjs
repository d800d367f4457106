/** Relative links of the documentation: the file exists, and the heading it names. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { isMainModule, listFiles, report } from './files.mjs';

/**
 * Dead relative links in Markdown texts, one line each.
 *
 * @param {Readonly<Record<string, string>>} pages Markdown text by path from the repository's root.
 * @param {(path: string) => boolean} exists whether a file or folder is in the repository.
 * @returns {string[]}
 */
export function checkLinks(pages, exists) {
  const problems = [];
  for (const [path, text] of Object.entries(pages)) {
    for (const { line, target } of linksOf(text)) {
      const [file, anchor] = target.split('#');
      const resolved = file === '' ? path : join(path, decodeURIComponent(file));
      if (!exists(resolved)) {
        problems.push(`${path}:${line}: link to ${target}, but there is no ${resolved}`);
      } else if (
        anchor !== undefined &&
        pages[resolved] !== undefined &&
        !anchorsOf(pages[resolved]).has(anchor)
      ) {
        problems.push(`${path}:${line}: link to ${target}, but ${resolved} has no such heading`);
      }
    }
  }
  return problems;
}

/** Relative targets of `[text](target)`, `![text](target)` and `[name]: target`, outside code. */
function linksOf(text) {
  const links = [];
  for (const [index, line] of withoutCode(text).entries()) {
    for (const match of line.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\s*\[[^\]]+\]:\s+(\S+)/g)) {
      const target = match[1] ?? match[2];
      if (!/^([a-z][a-z0-9+.-]*:|\/\/)/i.test(target)) links.push({ line: index + 1, target });
    }
  }
  return links;
}

/** Lines with fenced blocks and code spans blanked, so that line numbers stay. */
function withoutCode(text) {
  let fence;
  return text.split('\n').map((line) => {
    const mark = /^\s*(```+|~~~+)/.exec(line)?.[1];
    if (fence !== undefined) {
      if (mark?.startsWith(fence)) fence = undefined;
      return '';
    }
    if (mark !== undefined) {
      fence = mark;
      return '';
    }
    return line.replace(/`[^`]*`/g, '');
  });
}

/** Anchors that GitHub gives to headings: lower case, punctuation dropped, spaces to hyphens, repeats numbered. */
function anchorsOf(text) {
  const anchors = new Set();
  const lines = text.split('\n');
  for (const [index, line] of withoutCode(text).entries()) {
    if (!/^#{1,6}\s/.test(line)) continue;
    const heading = lines[index].replace(/^#{1,6}\s+/, '').replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
    const slug = heading
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
    let anchor = slug;
    for (let repeat = 1; anchors.has(anchor); repeat++) anchor = `${slug}-${repeat}`;
    anchors.add(anchor);
  }
  return anchors;
}

function join(page, target) {
  const parts = target.startsWith('/') ? [] : page.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '..') {
      if (parts.length === 0) return `../${target}`;
      parts.pop();
    } else if (part !== '.' && part !== '') parts.push(part);
  }
  return parts.join('/') || '.';
}

if (isMainModule(import.meta.url)) {
  const paths = await listFiles('.', '.md');
  const pages = await Promise.all(paths.map(async (path) => [path, await readFile(path, 'utf8')]));
  // A link that leaves the repository works on one machine only.
  report(
    checkLinks(Object.fromEntries(pages), (path) => !path.startsWith('../') && existsSync(path)),
    `${paths.length} pages`,
  );
}
