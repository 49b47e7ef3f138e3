// Compiles only if the generated client has these methods with these types.
import Bank from "./client/typescript/src/index";

async function use(bank: Bank): Promise<void> {
    const receipt = await bank.transfer("DE01", "DE02", 50);
    const number: number = receipt.number;
    const owner: string = receipt.account.owner;
    await bank.transfer("DE01", "DE02", 50, "rent", 3, "standing_order");
    const balance = await bank.balance("DE02");
    const cents: number = balance.cents + number;
    const at: string | null = balance.at;
    await bank.open("DE02", owner, cents);
    const found = await bank.find("Ada");
    const iban: string | undefined = found?.iban;
    await bank.hint(at ?? iban ?? "");

    // @ts-expect-error: an amount is a number
    await bank.transfer("DE01", "DE02", "50");
    // @ts-expect-error: there is no such kind
    await bank.transfer("DE01", "DE02", 50, null, 3, "never");
    // @ts-expect-error: an account has an owner
    await bank.open("DE02");
    // @ts-expect-error: there is no such method
    await bank.rob();
}

export default use;
