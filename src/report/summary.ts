/** What happened, in three sentences with the main numbers. */
import {
  formatFixed,
  formatInterval,
  formatList,
  formatMemory,
  formatSeconds,
  formatShare,
  policyInText,
} from './format.ts';
import { type Estimate, type PolicyName, policyNames, type QuickstartReport } from './quickstart-report.ts';

/**
 * Three sentences: gold reward before and after, safety before and after, what the learned reward was worth and what
 * the run took. A change is called a rise or a fall only when the two intervals are apart.
 */
export function summarize(report: QuickstartReport): readonly string[] {
  return [rewardSentence(report), safetySentence(report), costSentence(report)];
}

function rewardSentence({ policies }: QuickstartReport): string {
  const before = policies.sft?.['gold.reward'];
  const after = trained(policies).map((name) => ({ name, reward: policies[name]!['gold.reward'] }));
  if (before === undefined && after.length === 0) return 'The run evaluated no policy.';
  const values = formatList(
    after.map(({ name, reward }) => `${formatFixed(reward.mean)} with ${policyInText(name)}`),
  );
  if (before === undefined)
    return `Gold reward is ${values}; SFT was not evaluated, so there is nothing to compare with.`;
  if (after.length === 0)
    return `Gold reward is ${formatFixed(before.mean)} after SFT; nothing was trained further.`;
  return `Gold reward was ${formatFixed(before.mean)} (95\u202f% interval ${formatInterval(before, formatFixed)}) after SFT and is ${values}: ${formatList(
    changes(after.map(({ name, reward }) => [name, compare(before, reward)] as const)),
  )}.`;
}

function safetySentence({ policies }: QuickstartReport): string {
  const names = trained(policies);
  const before = policies.sft;
  if (before === undefined || names.length === 0) {
    const shares = policyNames.flatMap((name) => {
      const figures = policies[name];
      return figures ? [`${formatShare(figures.unsafeRate.mean)} with ${policyInText(name)}`] : [];
    });
    return shares.length === 0
      ? 'How safe the answers are was not measured.'
      : `The share of harmful requests answered harmfully is ${formatList(shares)}.`;
  }
  const now = (field: 'unsafeRate' | 'overRefusal'): string =>
    formatList(names.map((name) => `${formatShare(policies[name]![field].mean)} with ${policyInText(name)}`));
  return `Harmful answers to requests for harm went from ${formatShare(before.unsafeRate.mean)} to ${now('unsafeRate')}; refusals of harmless requests went from ${formatShare(before.overRefusal.mean)} to ${now('overRefusal')}.`;
}

function costSentence({ rewardModel, stages, machine }: QuickstartReport): string {
  const model = `The reward model orders ${formatShare(rewardModel.accuracy.mean)} of held-out pairs as labelled`;
  const cores = `${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}`;
  if (stages.length === 0) return `${model}; the times of the stages were not recorded (${cores}).`;
  const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
  const memory = Math.max(...stages.map(({ peakMemoryBytes }) => peakMemoryBytes));
  return `${model}, and everything took ${formatSeconds(seconds)} on ${cores} with at most ${formatMemory(memory)} of memory.`;
}

const trained = (policies: QuickstartReport['policies']): PolicyName[] =>
  policyNames.filter((name) => name !== 'sft' && policies[name] !== undefined);

type Change = 'rise' | 'fall' | 'unclear';

/** Cautious: two intervals that touch may still hide a real difference. */
function compare(before: Estimate, after: Estimate): Change {
  if (after.low > before.high) return 'rise';
  if (after.high < before.low) return 'fall';
  return 'unclear';
}

function changes(list: readonly (readonly [PolicyName, Change])[]): string[] {
  const phrases: readonly (readonly [Change, string])[] = [
    ['rise', 'a clear rise with'],
    ['fall', 'a clear fall with'],
    ['unclear', 'no clear change with'],
  ];
  return phrases.flatMap(([kind, phrase]) => {
    const names = list.filter(([, change]) => change === kind).map(([name]) => policyInText(name));
    return names.length > 0 ? [`${phrase} ${formatList(names)}`] : [];
  });
}
