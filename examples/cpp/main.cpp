// Energy, forces and stress of a structure by an exported model: ./potential model.pt2 structure.xyz
//
// The model is a file of `pyg-equiformer export`; nothing of pyg_equiformer or Python is needed. The structure is
// extended XYZ: columns species and positions first, and Lattice="ax ay az bx by bz cx cy cz" where it is periodic.

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using Vector = std::array<double, 3>;

struct Structure {
  std::vector<int64_t> z;
  std::vector<Vector> pos;
  std::array<Vector, 3> cell{};  // rows; zero for molecules
  bool periodic = false;
};

int64_t atomic_number(const std::string& symbol) {
  static const std::string symbols =
      " H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
      "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt "
      "Au Hg Tl Pb Bi Po At Rn ";
  const auto place = symbols.find(" " + symbol + " ");
  if (symbol.empty() || place == std::string::npos) throw std::runtime_error("unknown element '" + symbol + "'");
  return 1 + std::count(symbols.begin(), symbols.begin() + place, ' ');
}

Structure read(const std::string& path) {
  std::ifstream file(path);
  Structure s;
  std::string line;
  size_t atoms = 0;
  if (!(file >> atoms) || atoms == 0) throw std::runtime_error(path + ": expected the number of atoms in line 1");
  std::getline(file, line);
  std::getline(file, line);
  if (const auto at = line.find("Lattice=\""); at != std::string::npos) {
    std::istringstream numbers(line.substr(at + 9));
    for (auto& row : s.cell)
      for (double& x : row)
        if (!(numbers >> x)) throw std::runtime_error(path + ": expected nine numbers in Lattice");
    s.periodic = line.find("pbc=\"F F F\"") == std::string::npos;
  }
  for (size_t i = 0; i < atoms; ++i) {
    std::string symbol;
    Vector x;
    if (!std::getline(file, line) || !(std::istringstream(line) >> symbol >> x[0] >> x[1] >> x[2]))
      throw std::runtime_error(path + ": expected element and position of atom " + std::to_string(i + 1));
    s.z.push_back(atomic_number(symbol));
    s.pos.push_back(x);
  }
  return s;
}

// All pairs nearer than the cutoff, images included: edge_vec = pos[source] - pos[target] + shift. Every image in reach
// is tried, which is simple and slow; large systems want a cell list.
void find_edges(const Structure& s, double cutoff, std::vector<int64_t>& source, std::vector<int64_t>& target,
                std::vector<Vector>& shift) {
  std::array<int, 3> images{};
  if (s.periodic) {
    const auto cross = [](const Vector& a, const Vector& b) {
      return Vector{a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
    };
    const auto dot = [](const Vector& a, const Vector& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; };
    for (int k = 0; k < 3; ++k) {
      const Vector normal = cross(s.cell[(k + 1) % 3], s.cell[(k + 2) % 3]);
      const double height = std::abs(dot(s.cell[k], normal)) / std::sqrt(dot(normal, normal));
      double reach = cutoff;  // and what atoms lie apart along the normal, as they need not be in the cell
      for (const Vector& a : s.pos)
        for (const Vector& b : s.pos) {
          const Vector d{a[0] - b[0], a[1] - b[1], a[2] - b[2]};
          reach = std::max(reach, cutoff + std::abs(dot(d, normal)) / std::sqrt(dot(normal, normal)));
        }
      images[k] = static_cast<int>(std::ceil(reach / height));
    }
  }
  for (int a = -images[0]; a <= images[0]; ++a)
    for (int b = -images[1]; b <= images[1]; ++b)
      for (int c = -images[2]; c <= images[2]; ++c) {
        Vector n{};
        for (int k = 0; k < 3; ++k) n[k] = a * s.cell[0][k] + b * s.cell[1][k] + c * s.cell[2][k];
        for (size_t i = 0; i < s.pos.size(); ++i)
          for (size_t j = 0; j < s.pos.size(); ++j) {
            if (i == j && a == 0 && b == 0 && c == 0) continue;
            double square = 0;
            for (int k = 0; k < 3; ++k) square += std::pow(s.pos[j][k] - s.pos[i][k] + n[k], 2);
            if (square >= cutoff * cutoff) continue;
            source.push_back(static_cast<int64_t>(j));
            target.push_back(static_cast<int64_t>(i));
            shift.push_back(n);
          }
      }
}

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: potential model.pt2 structure.xyz");
  torch::inductor::AOTIModelPackageLoader model(argv[1]);
  auto facts = model.get_metadata();
  const Structure s = read(argv[2]);
  for (const int64_t z : s.z)
    if ((" " + facts.at("elements") + " ").find(" " + std::to_string(z) + " ") == std::string::npos)
      throw std::runtime_error("the model does not know Z = " + std::to_string(z) + ", only " + facts.at("elements"));

  std::vector<int64_t> source, target;
  std::vector<Vector> shift;
  find_edges(s, std::stod(facts.at("cutoff")), source, target, shift);
  const int64_t atoms = s.z.size(), edges = source.size();
  const auto floats = facts.at("dtype") == "float64" ? torch::kFloat64 : torch::kFloat32;
  const torch::Device device(facts.at("device"));
  const auto integers = [&](const std::vector<int64_t>& v) { return torch::tensor(v, torch::kInt64); };
  const auto vectors = [&](const void* data, int64_t rows) {
    return rows == 0 ? torch::zeros({0, 3}, floats)
                     : torch::from_blob(const_cast<void*>(data), {rows, 3}, torch::kFloat64).to(floats).clone();
  };
  // The inputs in the order that the metadata tell: z, pos, edge_index, edge_shift, cell, batch.
  std::vector<torch::Tensor> inputs = {integers(s.z),
                                       vectors(s.pos.data(), atoms),
                                       torch::stack({integers(source), integers(target)}),
                                       vectors(shift.data(), edges),
                                       vectors(s.cell.data(), 3).unsqueeze(0),
                                       torch::zeros({atoms}, torch::kInt64)};
  for (torch::Tensor& input : inputs) input = input.to(device);

  const std::vector<torch::Tensor> out = model.run(inputs);
  const auto print = [](const char* name, const torch::Tensor& values) {
    const torch::Tensor rows = values.to(torch::kCPU, torch::kFloat64).reshape({-1, values.dim() > 1 ? 3 : 1});
    std::printf("%s\n", name);
    for (int64_t i = 0; i < rows.size(0); ++i) {
      for (int64_t k = 0; k < rows.size(1); ++k) std::printf(" %.12g", rows[i][k].item<double>());
      std::printf("\n");
    }
  };
  print("energy [eV]", out[0]);
  print("forces [eV/Å]", out[1]);
  if (s.periodic) print("stress [eV/Å^3]", out[2]);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
