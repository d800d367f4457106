/** The text of `heed --help`. Plain text and no imports but types: it has to be there at once. */
import type { CommandRecord } from './commands.ts';

const GROUPS = ['Train', 'Use', 'Look', 'Machine'] as const satisfies readonly CommandRecord['group'][];

export function programHelp(commands: readonly CommandRecord[], version: string): string {
  const lines = [
    `heed ${version}: align language models with human feedback`,
    '',
    'Usage: heed <command> [options]',
    '       heed <command> --help',
  ];
  const width = Math.max(...commands.map(({ name }) => name.length), 'train <method>'.length);
  for (const group of GROUPS) {
    const members = commands.filter((command) => command.group === group);
    if (members.length === 0) continue;
    lines.push('', `${group}:`);
    for (const { name, summary } of members) lines.push(`  ${name.padEnd(width)}  ${summary}`);
    if (group === 'Train' && members.some(({ trains }) => trains)) {
      lines.push(`  ${'train <method>'.padEnd(width)}  the same, by the method's name`);
    }
  }
  lines.push(
    '',
    'Options of every command:',
    `  ${'--json'.padEnd(width)}  results and progress as JSON lines`,
    `  ${'--quiet'.padEnd(width)}  no progress, only results and warnings`,
    `  ${'--no-color'.padEnd(width)}  plain text (NO_COLOR works too)`,
    `  ${'--debug'.padEnd(width)}  where an error came from (HEED_DEBUG=1 works too)`,
    `  ${'--version'.padEnd(width)}  ${version}`,
    '',
  );
  return lines.join('\n');
}
