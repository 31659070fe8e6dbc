// What the Hub's client for JavaScript does, against a registry of ours: node client.mjs URL TOKEN REPO
import * as hub from "@huggingface/hub";

const [hubUrl, accessToken, name] = process.argv.slice(2);
const at = { hubUrl, accessToken };
const repo = { type: "model", name };
const large = new Uint8Array(200_000).map((_, i) => (i * 31) % 251);
const found = {};

found.user = (await hub.whoAmI(at)).name;
await hub.createRepo({ repo, ...at });
const upload = async (title, files) =>
  await hub.commit({
    repo,
    title,
    operations: Object.entries(files).map(([path, content]) => ({
      operation: "addOrUpdate",
      path,
      content: new Blob([content]),
    })),
    ...at,
    useXet: false,
  });
const card = "---\ntags: [modhub, 'class:cat']\n---\n# Pets\n";
await upload("first", { "README.md": card, "a/small.txt": "small", "large.bin": large });
await hub.uploadFile({ repo, file: { path: "more.txt", content: new Blob(["more"]) }, ...at, useXet: false });

found.files = [];
for await (const file of hub.listFiles({ repo, recursive: true, ...at })) {
  if (file.type === "file") found.files.push(file.path);
}
found.text = await (await hub.downloadFile({ repo, path: "a/small.txt", ...at })).text();
const back = new Uint8Array(await (await hub.downloadFile({ repo, path: "large.bin", ...at })).arrayBuffer());
found.same = back.length === large.length && back.every((byte, i) => byte === large[i]);
const part = await (await hub.downloadFile({ repo, path: "large.bin", ...at })).slice(100, 200).arrayBuffer();
found.part = new Uint8Array(part).every((byte, i) => byte === large[100 + i]);
found.info = (await hub.modelInfo({ name, ...at })).name;
found.exists = await hub.fileExists({ repo, path: "none", ...at });
await hub.createBranch({ repo, branch: "next", ...at });
found.search = [];
for await (const model of hub.listModels({ search: { tags: ["class:cat"], owner: name.split("/")[0] }, ...at })) {
  found.search.push(model.name);
}
found.commits = [];
for await (const commit of hub.listCommits({ repo, ...at })) found.commits.push(commit.title);
await hub.deleteFile({ repo, path: "more.txt", ...at });
await hub.deleteBranch({ repo, branch: "next", ...at });
await hub.deleteRepo({ repo, ...at });
console.log(JSON.stringify(found));
