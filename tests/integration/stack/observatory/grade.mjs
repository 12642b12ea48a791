// Grades addresses of one host with Mozilla's Observatory: `node grade.mjs HOST PATH…` prints a JSON object by path.
// Its own scanner refuses answers other than 2xx and follows redirects; here each answer is judged as it stands.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const installed = createRequire(`${process.cwd()}/`);
const own = (name) => import(pathToFileURL(installed.resolve(`@mdn/mdn-http-observatory/src/${name}`)).href);
const { retrieve } = await own("retriever/retriever.js");
const { ALL_TESTS } = await own("constants.js");
const { getGradeForScore, getScoreModifier } = await own("grader/grader.js");
const { MINIMUM_SCORE_FOR_EXTRA_CREDIT } = await own("grader/charts.js");
const { default: axios } = await import(pathToFileURL(installed.resolve("axios")).href);

const [host, ...paths] = process.argv.slice(2);
const grades = {};
for (const path of paths) {
  const found = await retrieve(host, { path });
  const { verified, httpEquiv } = found.responses.auto;
  const headers = { Accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8" };
  const answer = await axios.get(`https://${host}${path}`, { headers, maxRedirects: 0, validateStatus: () => true });
  Object.assign(found.responses.auto, answer, { verified, httpEquiv });
  const results = ALL_TESTS.map((test) => test(found)).map(({ result, pass }) => ({ result, pass, points: getScoreModifier(result) }));
  const lost = results.reduce((sum, { points }) => sum + Math.min(points, 0), 100);
  const won = results.reduce((sum, { points }) => sum + Math.max(points, 0), 0);
  const { score, grade } = getGradeForScore(lost >= MINIMUM_SCORE_FOR_EXTRA_CREDIT ? lost + won : lost);
  grades[path] = { status: answer.status, score, grade, verified, results };
}
console.log(JSON.stringify(grades));
