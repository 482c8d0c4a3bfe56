// An extension of pi that asks its user, for recordings and tests: `/ask` goes through the kinds of dialog, and a bash
// call whose command begins with `: guarded` needs a yes.
export default function (pi) {
  pi.registerCommand("ask", {
    description: "Ask one question of each kind",
    handler: async (_args, ctx) => {
      const colour = await ctx.ui.select("Pick one", ["red", "green"]);
      const sure = await ctx.ui.confirm("Sure?", "It is for ever");
      const name = await ctx.ui.input("Your name", "somebody");
      ctx.ui.notify(`${colour} ${sure} ${name}`, "info");
    },
  });
  pi.on("tool_call", async (event, ctx) => {
    if (event.toolName !== "bash" || !event.input.command.startsWith(": guarded")) return undefined;
    const allowed = await ctx.ui.confirm("Run it?", event.input.command);
    return allowed ? undefined : { block: true, reason: "The user said no" };
  });
}
